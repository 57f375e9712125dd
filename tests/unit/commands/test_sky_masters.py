"""Dark-sky flat and fringe frame of a night's own lights, by the commands and the real builders."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from nightflow.simulate import NightPlan, write_night
from tests.unit.commands.conftest import NIGHT, Observatory

PROFILE = """
name = "skycam"
extends = "simulator"
recognise = { INSTRUME = "^nightflow-sim$", TELESCOP = "simulated" }
calibration = { illumination = "optional", fringe = "optional" }
masters = { minimum_sky_inputs = 3, sky_offset = 8.0 }
"""
"""A telescope that wanders by a few pixels in a night is dithered enough to be combined."""


@pytest.fixture(scope="module")
def wandering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wandering")
    write_night(NightPlan.small(n_lights=8), folder)
    return folder


def listed(dome: Observatory, kind: str) -> list[dict[str, str]]:
    return list(
        csv.DictReader(io.StringIO(dome("masters", "list", "--kind", kind, "--format", "csv").stdout))
    )


def test_they_are_made_at_the_end_of_the_night_and_then_used(empty: Observatory, wandering: Path) -> None:
    (empty.root / "cameras").mkdir(exist_ok=True)
    (empty.root / "cameras" / "skycam.toml").write_text(PROFILE)
    assert empty("catalog", "import", str(wandering / "catalog.csv"), "--name", "field").exit_code == 0
    run = empty("run", str(wandering / "raw"))
    assert run.exit_code == 0, run.output
    assert listed(empty, "illumination") == []
    finished = empty("finish", NIGHT)
    assert finished.exit_code == 0, finished.output
    (illumination,), (fringe,) = listed(empty, "illumination"), listed(empty, "fringe")
    assert int(illumination["n_inputs"]) >= 3
    assert illumination["state"] != "rejected"
    plane = fits.getdata(next((empty.root / "masters").glob("*illumination*")))
    assert np.median(plane) == pytest.approx(1, abs=0.01)
    assert np.std(plane) < 0.05
    lights = sorted(empty.products.glob("*light*.fits"))
    assert len(lights) == 8
    for path in lights:
        header = fits.getheader(path)
        assert header["NFILLUMI"] == illumination["fingerprint"]
        history = "\n".join(header["HISTORY"])
        assert "illumination: master_illumination" in history
        assert f"fringe: master_fringe {fringe['fingerprint'][:12]}" in history
