"""What the long runs found, kept under benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from nightflow.fits_output import replacing

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"


def keep_figures(
    request: pytest.FixtureRequest, file: str, figures: Mapping[str, object], folder: Path = RESULTS
) -> None:
    """Write the figures of the running test into ``file``, beside those of the file's other tests."""
    path = folder / file
    kept = json.loads(path.read_text()) if path.is_file() else {}
    test = request.node.nodeid
    kept[test] = {**figures, "command": f"python -m pytest -n 0 -m soak '{test}'"}
    with replacing(path) as partial:
        partial.write_text(json.dumps(dict(sorted(kept.items())), indent=2, allow_nan=False) + "\n")
