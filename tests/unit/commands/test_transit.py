"""A transit of 1.5 % through clouds and over the meridian, from raw frames to the fitted depth."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.simulate import NightPlan, TransitPlan, write_night
from tests.unit.commands.conftest import NIGHT, TARGET, Observatory
from tests.unit.commands.transit_shape import Fit, fit_transit

DEPTH = 0.015
TRENDS = "airmass,x,y,fwhm_px"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_depth_and_middle_of_a_transit_in_a_night_of_a_hundred_frames(tmp_path: Path) -> None:
    plan = NightPlan(n_lights=100, cadence=150.0, transit=TransitPlan(depth=DEPTH))
    truth = write_night(plan, tmp_path)
    lights = [frame for frame in truth.frames if frame.kind == "light"]
    assert max(frame.cloud for frame in lights) > 0.1
    assert 20 < sum(frame.flipped for frame in lights) < 80
    assert CliRunner().invoke(app, ["init", str(tmp_path / "dome")]).exit_code == 0
    dome = Observatory(tmp_path / "dome", tmp_path / "raw")
    assert dome("catalog", "import", str(tmp_path / "catalog.csv"), "--name", "field").exit_code == 0
    assert dome("run", str(dome.raw)).exit_code == 0
    assert dome("finish", NIGHT).exit_code == 0

    def fitted(*words: str) -> Fit:
        result = dome("lightcurve", "--ra", str(TARGET[0]), "--dec", str(TARGET[1]), *words)
        return fit_transit(result.stdout, truth.transit)

    plain = fitted()
    assert abs(plain.depth - DEPTH) < 0.001
    assert abs(plain.late) < 2.0
    assert plain.depth_err < 0.0008
    assert 0.7 < plain.chi2_dof < 1.3
    for trends in ("airmass", TRENDS):
        detrended = fitted("--detrend", trends)
        assert abs(detrended.depth - plain.depth) < 0.001
        assert abs(detrended.depth - DEPTH) < 0.001
        assert 0.7 < detrended.chi2_dof < 1.3
