"""What a WCS was verified by, its residuals, and the pointing of a night, by the commands."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from tests.unit.commands.conftest import LIGHTS, NIGHT, Observatory

pytestmark = pytest.mark.xdist_group("commands")


def lights(dome: Observatory) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(dome("frames", "--format", "csv").stdout))
    return [row for row in rows if row["kind"] == "light"]


def test_the_evidence_stands_in_the_ledger(reduced: Observatory) -> None:
    rows = lights(reduced)
    assert len(rows) == LIGHTS
    for row in rows:
        assert row["wcs_quality"] == "verified"
        assert int(row["wcs_n_matched"]) <= int(row["wcs_n_expected"])
        assert float(row["wcs_chance_matches"]) < int(row["wcs_n_matched"])
        assert float(row["wcs_log_false_alarm"]) < -6.0
        assert 0.0 < float(row["wcs_corner_err_arcsec"]) < float(row["scale"])
        assert 0.0 < float(row["wcs_corner_rms_arcsec"]) < 2.0
        assert -12.0 <= float(row["hour_angle"]) <= 12.0


def test_residuals_are_those_of_the_fit(reduced: Observatory, tmp_path: Path) -> None:
    row = lights(reduced)[0]
    picture = tmp_path / "residuals.png"
    result = reduced("residuals", row["path"], "--format", "csv", "--plot", str(picture))
    assert result.exit_code == 0
    stars = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(stars) == int(row["wcs_n_matched"])
    radial = np.array([math.hypot(float(star["dx"]), float(star["dy"])) for star in stars])
    rms = float(np.sqrt(np.mean(radial**2))) * float(row["scale"])
    assert rms == pytest.approx(float(row["wcs_rms_arcsec"]), rel=0.05, abs=0.004)
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 1000


def test_a_frame_without_a_wcs_exits_with_2(reduced: Observatory) -> None:
    result = reduced("residuals", "0001-bias")
    assert result.exit_code == 2
    assert "no verified WCS" in result.stderr


def test_explain_says_what_it_was_verified_by(reduced: Observatory) -> None:
    name = lights(reduced)[0]["path"]
    assert "expected stars" in reduced("explain", name).stdout
    story = json.loads(reduced("explain", name, "--format", "json").stdout)
    assert story["frames"][0]["wcs"]["wcs_log_false_alarm"] < -6.0


def test_finish_reports_pointing_and_scale(dome: Observatory) -> None:
    result = dome("finish", NIGHT)
    assert "off the header by" in result.stdout
    table = Table.read(dome.products / "pointing.ecsv", format="ascii.ecsv")
    assert len(table) == LIGHTS
    assert np.ptp(table["scale"]) / np.median(table["scale"]) < 1e-3
    with Image.open(dome.products / "pointing.png") as drawn:
        assert drawn.size[0] > 1000
    assert table.meta["summary"][0] in result.stdout.replace("\n", "")
