"""Forced photometry from the raw frames to what the commands show, on the simulated night."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from nightflow.store.consistency import disagreements
from tests.unit.commands.conftest import LIGHTS, TARGET, Observatory

pytestmark = pytest.mark.xdist_group("commands")

FAINT = (TARGET[0] + 0.011, TARGET[1] - 0.0095)
"""Nothing brighter than the limit is here."""


@pytest.fixture(scope="module")
def forced(reduced: Observatory, tmp_path_factory: pytest.TempPathFactory) -> Observatory:
    """The night reduced again with three targets: faint, bright and moving."""
    root = tmp_path_factory.mktemp("forced") / "dome"
    shutil.copytree(reduced.root, root)
    dome = Observatory(root, reduced.raw)
    dome("targets", "add", "Faint", "--ra", str(FAINT[0]), "--dec", str(FAINT[1]))
    dome("targets", "add", "Bright", "--ra", str(TARGET[0]), "--dec", str(TARGET[1]))
    ephemeris = root / "ephemeris.csv"
    mjd = [float(row["mjd_mid"]) for row in curve(dome, "Bright")]
    # A quarter of a degree a day, past the middle of the field during the run.
    days = np.arange(mjd[0] - 0.05, mjd[-1] + 0.05, 0.02)
    path = [f"{day},{FAINT[0] + 0.02 + (day - mjd[0]) * 0.3},{FAINT[1] + 0.01}" for day in days]
    ephemeris.write_text("\n".join(["mjd,ra,dec", *path]))
    dome("targets", "add", "Moving", "--ephemeris", str(ephemeris))
    run = dome("run", str(dome.raw), "--force")
    assert run.exit_code == 0, run.output
    return dome


def curve(dome: Observatory, name: str, *words: str) -> list[dict[str, str]]:
    result = dome("lightcurve", name, *words)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_a_target_below_the_limit_has_a_row_of_every_frame(forced: Observatory) -> None:
    rows = curve(forced, "Faint", "--kind", "forced")
    assert len(rows) == LIGHTS
    depth = [row["depth_5sigma"] for row in json.loads(forced("frames", "--format", "json").stdout)]
    for row, limit in zip(rows, [one for one in depth if one is not None], strict=True):
        assert row["kind"] == "forced"
        assert abs(float(row["flux"])) < 4 * float(row["flux_err"])
        # Three sigma lie 0.55 mag below five; the flux that was found makes it brighter.
        if float(row["flux"]) < 3 * float(row["flux_err"]):
            assert limit - 0.5 < float(row["upper_limit"]) < limit + 0.8
            assert row["mag"] == row["diff_mag"] == row["mag_err"] == ""
    assert forced("lightcurve", "Faint").exit_code == 2


def test_limits_at_another_level(forced: Observatory) -> None:
    three = curve(forced, "Faint", "--kind", "forced")
    two = curve(forced, "Faint", "--kind", "forced", "--limit-sigma", "5")
    for one, other in zip(three, two, strict=True):
        if one["upper_limit"]:
            assert float(other["upper_limit"]) < float(one["upper_limit"])
    assert forced("lightcurve", "Faint", "--kind", "forced", "--limit-sigma", "0").exit_code == 1


def test_a_detected_target_s_rows_are_those_of_its_aperture(forced: Observatory) -> None:
    rows, detected = curve(forced, "Bright", "--kind", "forced"), curve(forced, "Bright")
    assert len(rows) == len(detected) == LIGHTS
    for row, other in zip(rows, detected, strict=True):
        assert float(row["mag"]) == pytest.approx(float(other["mag"]), abs=0.004)
        assert row["upper_limit"] == ""
        assert row["source_id"] == other["source_id"]
        assert row["diff_mag"] != ""


def test_a_moving_target_is_measured_on_its_ephemeris(forced: Observatory) -> None:
    rows = curve(forced, "Moving", "--kind", "forced")
    assert len(rows) == LIGHTS
    first = float(rows[0]["mjd_mid"])
    for row in rows:
        expected = FAINT[0] + 0.02 + (float(row["mjd_mid"]) - first) * 0.3
        cos_dec = np.cos(np.radians(FAINT[1]))
        assert (float(row["ra"]) - expected) * cos_dec * 3600 == pytest.approx(0.0, abs=0.01)
        assert float(row["dec"]) == pytest.approx(FAINT[1] + 0.01, abs=0.01 / 3600)


def test_the_store_agrees_and_a_finished_night_keeps_them(forced: Observatory) -> None:
    assert forced("finish", "2025-10-24").exit_code == 0
    assert len(curve(forced, "Faint", "--kind", "forced")) == LIGHTS
    assert [row["source_id"] for row in curve(forced, "Bright", "--kind", "forced")] == [
        row["source_id"] for row in curve(forced, "Bright")
    ]
    with forced.database as database:
        assert [one for one in disagreements(database) if one.number] == []


def test_sources_of_earlier_nights_are_measured_where_they_were_not_detected(
    forced: Observatory, tmp_path: Path
) -> None:
    """Not those of the night itself: which of its frames came first must make no difference."""
    root = tmp_path / "dome"
    shutil.copytree(forced.root, root)
    dome = Observatory(root, forced.raw)
    assert dome("finish", "2025-10-24").exit_code == 0
    assert _n_forced_after_another_target(dome, 0.02) == 4 * LIGHTS
    with dome.database as database, database.write() as session:
        session.connection().execute(text("UPDATE source_statistics SET mjd_first = mjd_first - 1"))
    assert _n_forced_after_another_target(dome, 0.03) > 5 * LIGHTS


def _n_forced_after_another_target(dome: Observatory, east: float) -> int:
    """Return how many forced apertures there are, once a new target has had the frames reduced again."""
    dome("targets", "add", f"Empty {east}", "--ra", str(FAINT[0] + east), "--dec", str(FAINT[1]))
    assert dome("run", str(dome.raw), "--force").exit_code == 0
    current = "SELECT id FROM reduction WHERE current"
    statement = text(
        f"SELECT count(*) FROM measurement WHERE kind = 'forced' AND reduction_id IN ({current})"
    )
    with dome.database as database, database.session() as session:
        return int(session.connection().execute(statement).scalar_one())


def test_reports_and_pictures_show_limits(forced: Observatory, tmp_path: Path) -> None:
    report = forced(
        "lightcurve", "Faint", "--kind", "forced", "--format", "aavso", "--observer", "XYZ",
        "--plot", str(tmp_path / "faint.png"),
    )  # fmt: skip
    lines = [line for line in report.stdout.splitlines() if not line.startswith("#")]
    assert len(lines) == LIGHTS
    assert any(line.split(",")[2].startswith("<") and line.split(",")[3] == "na" for line in lines)
    assert (tmp_path / "faint.png").read_bytes().startswith(b"\x89PNG")
    out = tmp_path / "out"
    assert "3 light curves" in forced("export", str(out), "--format", "csv", "--kind", "forced").stdout


def test_completeness_of_a_frame(forced: Observatory) -> None:
    result = forced("completeness", "0012-light-R.fits", "--stars", "20", "--format", "json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert rows[0]["completeness"] > 0.7
    assert rows[-1]["completeness"] < 0.2
    assert all(row["injected"] == 20 for row in rows)
    assert "50% at" in result.stderr
    refused = forced("completeness", "0001-bias.fits")
    assert refused.exit_code == 1
    assert "only lights have stars to be found" in refused.stderr


def test_a_target_that_is_removed_keeps_what_was_measured(forced: Observatory, tmp_path: Path) -> None:
    root = tmp_path / "dome"
    shutil.copytree(forced.root, root)
    dome = Observatory(root, forced.raw)
    by_place = ("lightcurve", "--ra", str(FAINT[0]), "--dec", str(FAINT[1]), "--kind", "forced")
    before = curve(dome, "Faint", "--kind", "forced")
    with dome.database.session() as session:
        rows = session.connection().execute(text("SELECT count(*) FROM measurement")).scalar_one()
    removed = dome("targets", "remove", "Faint")
    assert removed.exit_code == 0
    assert f"--ra {FAINT[0]:.6f} --dec {FAINT[1]:.6f} --kind forced" in removed.stdout
    with dome.database.session() as session:
        assert session.connection().execute(text("SELECT count(*) FROM measurement")).scalar_one() == rows
    assert [row["flux"] for row in csv.DictReader(io.StringIO(dome(*by_place).stdout))] == [
        row["flux"] for row in before
    ]
    assert "no target is called 'Faint'" in dome("lightcurve", "Faint").stderr
    # A frame that is reduced again is not measured there any more; what was measured on it is still a row.
    (light, *_) = sorted(
        path for path in dome.raw.iterdir() if path.name == before[0]["frame"].split("/")[-1]
    )
    assert dome("run", str(light), "--force").exit_code == 0
    left = list(csv.DictReader(io.StringIO(dome(*by_place).stdout)))
    assert [row["frame"] for row in left] == [row["frame"] for row in before[1:]]
    with dome.database.session() as session:
        assert session.connection().execute(text("SELECT count(*) FROM measurement")).scalar_one() > rows
    assert len(curve(dome, "Bright", "--kind", "forced")) == LIGHTS
