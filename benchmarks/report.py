"""The table and the files that come out of a run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.harness import Outcome
from benchmarks.scale import Scale

__all__ = ["PACKAGES", "hardware", "machine", "results", "table", "write"]

PACKAGES = (
    "nightflow", "numpy", "scipy", "numba", "astropy", "sep", "ccdproc", "astroscrappy", "photutils",
    "astrometry", "sqlalchemy", "psycopg",
)  # fmt: skip


_VERDICTS = {"timed": "yes", "disagrees": "[red]NO[/]", "failed": "[red]FAILED[/]", "skipped": "skipped"}


def results(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """Return {name: {"ours", "peer", "peer_name", "ratio", "agree"}} of all that were not skipped.

    A benchmark that failed, or whose sides disagree, has null times and ``agree`` false.
    """
    return {
        one.name: {
            "ours": one.ours,
            "peer": one.peer,
            "peer_name": one.peer_name,
            "ratio": one.ratio,
            "agree": one.state == "timed",
        }
        for one in outcomes
        if one.state != "skipped"
    }


def hardware() -> dict[str, Any]:
    """Return processor, system and versions."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def machine(scale: Scale, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what the figures were measured on and with."""
    return hardware() | {
        "scale": scale.described(),
        "skipped": {one.name: one.detail for one in outcomes if one.state == "skipped"},
        "rounds": {one.name: one.rounds for one in outcomes if one.rounds},
    }


def write(outcomes: Sequence[Outcome], scale: Scale, output: Path) -> None:
    """Write the results, and ``machine.json`` beside them."""
    output.parent.mkdir(parents=True, exist_ok=True)
    for path, content in (
        (output, results(outcomes)),
        (output.with_name("machine.json"), machine(scale, outcomes)),
    ):
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def table(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print one row a benchmark, then what the agreement rests on or why there is no timing."""
    grid = Table(title="median seconds, ours and the peers'", title_justify="left")
    for column in ("benchmark", "ours", "peer", "ratio", "rounds", "agree", "against"):
        justify = "right" if column in ("ours", "peer", "ratio", "rounds") else "left"
        grid.add_column(column, justify=justify, no_wrap=column != "against")
    for one in outcomes:
        ratio = "" if one.ratio is None else f"{one.ratio:.1f}"
        grid.add_row(
            one.name,
            _seconds(one.ours),
            _seconds(one.peer),
            ratio,
            str(one.rounds or ""),
            _VERDICTS[one.state],
            escape(one.peer_name),
        )
    console.print(grid)
    for one in outcomes:
        console.print(f"{one.name}: {_VERDICTS[one.state]}; {escape(one.detail)}", highlight=False)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the processor's name; Linux tells it in /proc/cpuinfo only."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
