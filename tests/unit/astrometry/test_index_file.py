"""The index file that comes with nightflow solves the demo's field."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.io import fits

from nightflow.simulate import NightPlan
from nightflow.simulate.night import expected_light
from nightflow.simulate.prepare import prepare_night

INDEX = resources.files("nightflow.astrometry").joinpath("data", "index-hatp32-tycho2.fits")

# GPL: imported in a process of its own only.
SOLVE = """
import astrometry, json, pathlib, sys
question = json.load(sys.stdin)
with astrometry.Solver([pathlib.Path(question["index"])]) as solver:
    found = solver.solve(
        stars=question["stars"], size_hint=None, position_hint=None,
        solution_parameters=astrometry.SolutionParameters(sip_order=0, tune_up_logodds_threshold=None),
    )
match = found.best_match() if found.has_match() else None
# The solver's pixels are those that it was given: nothing to add, so origin 1.
json.dump(
    match and [*match.astropy_wcs().all_pix2world([question["center"]], 1)[0], match.scale_arcsec_per_pixel],
    sys.stdout,
)
"""


def solve_blind(image: np.ndarray) -> list[float] | None:
    """Return right ascension, declination (degrees) and scale (arcsec/px) of the middle of the image."""
    pytest.importorskip("astrometry_extension", reason="the extra `astrometry` is not installed")
    ny, nx = image.shape
    question = {
        "index": str(INDEX),
        "stars": brightest(image, 60),
        "center": [(nx - 1) / 2, (ny - 1) / 2],
    }
    answer = subprocess.run(
        [sys.executable, "-c", SOLVE],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(answer.stdout)


def brightest(image: np.ndarray, n_stars: int) -> list[tuple[float, float]]:
    background = sep.Background(image)
    found = sep.extract(image - background, 5.0, err=background.globalrms, minarea=5)
    order = np.argsort(-found["flux"])[:n_stars]
    return [(float(found["x"][row]), float(found["y"][row])) for row in order]


def test_index_is_small_and_comes_with_its_licence() -> None:
    assert Path(str(INDEX)).stat().st_size < 1_000_000
    notice = resources.files("nightflow.astrometry").joinpath("data", "tycho2_copyright.txt").read_text()
    assert "BSD-2-Clause" in notice
    assert fits.getheader(str(INDEX))["NSTARS"] == 128


@pytest.mark.parametrize("side", [-1, 0], ids=["after the flip", "before the flip"])
def test_simulated_frames_are_solved_blind(side: int) -> None:
    night = prepare_night(NightPlan(n_lights=30, cadence=480.0))
    scheduled = [frame for frame in night.schedule if frame.kind == "light"][side]
    image, _ = expected_light(night, scheduled)
    pointing = night.lights[scheduled.number].pointing
    solution = solve_blind(np.random.default_rng(1).poisson(image).astype(np.float32))
    assert solution is not None
    assert solution[2] == pytest.approx(3.0, rel=0.001)
    assert np.hypot((solution[0] - pointing.ra) * 0.686, solution[1] - pointing.dec) < 3 / 3600


@pytest.mark.real
def test_real_frames_are_solved_blind(shared_data: Path) -> None:
    frames = sorted((shared_data / "hatp32_subset").glob("*.gz"))[::9]
    assert len(frames) == 4
    for path in frames:
        solution = solve_blind(fits.getdata(path).astype(np.float32))
        assert solution is not None, path.name
        assert solution[2] == pytest.approx(5.164, rel=0.005)
        assert np.hypot((solution[0] - 31.04) * 0.686, solution[1] - 46.69) < 0.5
