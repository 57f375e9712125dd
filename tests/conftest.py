"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from astropy.utils import data as astropy_data
from astropy.utils import iers

iers.conf.auto_download = False
iers.conf.iers_degraded_accuracy = "warn"
astropy_data.conf.allow_internet = False

# No test asserts a time: the first example may have to compile or to read tables.
hypothesis.settings.register_profile("nightflow", deadline=None)
hypothesis.settings.load_profile("nightflow")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _no_index_files_of_this_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no package that happens to be installed solve, or slow down, what a test hands to the solvers."""
    if request.node.get_closest_marker("system") is None:
        monkeypatch.setattr("nightflow.astrometry.solve_field.PROGRAM", "no-such-solve-field")
    for module in ("nightflow.pipeline.work", "nightflow.doctor.sky"):
        monkeypatch.setattr(f"{module}.SYSTEM_INDEX_FOLDER", Path("no-such-folder"))


@pytest.fixture(autouse=True)
def niced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """By how much a command made its process nicer: that of the tests, and of all that comes after, stays."""
    steps: list[int] = []
    monkeypatch.setattr(os, "nice", steps.append)
    return steps


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real frames; skips where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real frames are not here: {SHARED_DATA} is absent")
    return SHARED_DATA
