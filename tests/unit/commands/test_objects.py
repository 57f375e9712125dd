"""What `finish` finds in a simulated night: bodies that move, stars that vary, and nothing else."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from astropy.units import Unit
from PIL import Image
from typer.testing import CliRunner

from nightflow.archive import Archive
from nightflow.cli import app
from nightflow.errors import ConfigurationError
from nightflow.simulate import Asteroid, NightPlan, NightTruth, Sinusoid, with_asteroids, write_night
from tests.unit.commands.conftest import NIGHT, Observatory

pytestmark = pytest.mark.xdist_group("commands")

LIGHTS = 26


@dataclass(frozen=True)
class Campaign:
    """A night with two asteroids and variables, reduced and finished."""

    dome: Observatory
    truth: NightTruth

    @property
    def asteroids(self) -> tuple[Asteroid, ...]:
        return self.truth.plan.field.asteroids

    def rows(self, *words: str) -> list[dict[str, str]]:
        result = self.dome(*words, "--format", "csv")
        assert result.exit_code == 0, result.output
        return list(csv.DictReader(io.StringIO(result.stdout)))

    def archive(self) -> Archive:
        return Archive(self.dome.root / "nightflow.toml")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    folder = tmp_path_factory.mktemp("campaign")
    plan = NightPlan.small(n_lights=LIGHTS, cadence=340.0, seed=3, transit=None)
    plan = replace(plan, field=replace(plan.field, n_variables=2))
    bodies = with_asteroids(replace(plan, seed=9), 2).field.asteroids
    truth = write_night(replace(plan, field=replace(plan.field, asteroids=bodies)), folder)
    assert CliRunner().invoke(app, ["init", str(folder / "dome")]).exit_code == 0
    dome = Observatory(folder / "dome", folder / "raw")
    assert dome("catalog", "import", str(folder / "catalog.csv"), "--name", "field").exit_code == 0
    assert dome("run", str(dome.raw)).exit_code == 0
    finished = dome("finish", NIGHT)
    assert finished.exit_code == 0
    assert "2 bodies move" in finished.stdout
    return Campaign(dome, truth)


def test_the_asteroids_are_found_at_their_rates_and_nothing_else_moves(campaign: Campaign) -> None:
    found = sorted(campaign.rows("movers", NIGHT), key=lambda row: float(row["rate"]))
    assert len(found) == 2
    for row, body in zip(found, sorted(campaign.asteroids, key=lambda one: one.rate), strict=True):
        assert abs(float(row["rate"]) - body.rate) < 4 * float(row["rate_err"])
        turn = (float(row["position_angle"]) - body.position_angle + 180) % 360 - 180
        assert abs(turn) < 4 * float(row["position_angle_err"])
        ra, dec = body.position(np.array([float(row["mjd"])]))
        assert abs(float(row["dec"]) - dec[0]) * 3600 < 0.2
        assert abs(float(row["ra"]) - ra[0]) * 3600 * np.cos(np.radians(dec[0])) < 0.2
        assert float(row["rate_err"]) < 0.05
        assert int(row["n"]) > 0.8 * LIGHTS
        assert float(row["false_alarm"]) < 1e-20


def test_the_variable_is_found_with_its_period_and_nothing_else_varies(campaign: Campaign) -> None:
    stars, curves = campaign.truth.scene.stars, campaign.truth.scene.light_curves
    found = campaign.rows("variables")
    assert found
    for row in found:
        distance = np.hypot(
            (stars.ra - float(row["ra"])) * np.cos(np.radians(float(row["dec"]))),
            stars.dec - float(row["dec"]),
        )
        star = curves.get(int(np.argmin(distance)))
        assert isinstance(star, Sinusoid)
        if row["period"]:
            assert abs(float(row["period"]) * 24 - star.period_hours) < 4 * float(row["period_err"]) * 24
            assert float(row["period_fap"]) < 1e-6
    assert any(row["period"] for row in found)
    # Blends vary with the seeing: they are no variables, but it is not hidden that there are some.
    told = campaign.dome("variables").stderr
    assert int(told.split()[0]) > 0
    assert "hold a neighbour's light" in told


@pytest.mark.parametrize("name", ["ecsv", "votable", "parquet"])
def test_rows_are_written_with_their_units(campaign: Campaign, tmp_path: Path, name: str) -> None:
    place = ("--ra", "31.0427", "--dec", "46.6878")
    if name == "parquet":
        pytest.importorskip("pandas")
    for words, unit, column in (
        (("sources", *place), "deg", "ra"),
        (("variables",), "d", "period"),
        (("movers",), "arcsec / h", "rate"),
    ):
        result = campaign.dome(*words, "--format", name)
        file = tmp_path / words[0]
        file.write_bytes(result.stdout_bytes)
        table = Table.read(file, format={"ecsv": "ascii.ecsv"}.get(name, name))
        assert len(table) == len(campaign.rows(*words))
        assert table[column].unit == Unit(unit)
        assert table[column].description


def test_a_period_that_was_hardly_seen_has_a_caution(campaign: Campaign) -> None:
    rows = campaign.rows("variables")
    assert any(row["caution"] for row in rows)
    for row in rows:
        seldom = bool(row["period"]) and float(row["cycles"]) < 2
        assert row["caution"] == (f"{float(row['cycles']):.1f} cycles seen" if seldom else "")
    explained = campaign.dome("variables", "--help").stdout
    for name in ("excess", "chi2_dof", "period_fap", "caution"):
        assert f" {name}: " in explained


def test_tracks_are_drawn(campaign: Campaign, tmp_path: Path) -> None:
    picture = tmp_path / "movers.png"
    assert campaign.dome("movers", "--plot", str(picture)).exit_code == 0
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert pixels.shape[0] > 700
    assert 0.002 < (pixels < 128).mean() < 0.2
    refused = campaign.dome("movers", "--plot", str(tmp_path / "none" / "movers.png"))
    assert refused.exit_code == 1
    assert not (tmp_path / "none").exists()


def test_a_night_without_movers_says_so(campaign: Campaign) -> None:
    result = campaign.dome("movers", "1999-01-01")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no frame of the night 1999-01-01 is in the ledger; it has {NIGHT}" in result.stderr
    assert campaign.dome("movers", "yesterday").exit_code == 1


def test_the_light_curve_of_a_body_goes_by_its_label(campaign: Campaign) -> None:
    (label, n), *_ = [(row["label"], int(row["n"])) for row in campaign.rows("movers")]
    rows = campaign.rows("lightcurve", label)
    assert len(rows) == n
    assert np.std([float(row["mag"]) for row in rows]) < 0.05
    assert len({row["ra"] for row in rows}) == n


def test_a_target_with_an_ephemeris_names_the_body(campaign: Campaign, tmp_path: Path) -> None:
    body = campaign.asteroids[0]
    mjd = np.array([body.mjd - 0.2, body.mjd, body.mjd + 0.2])
    ra, dec = body.position(mjd)
    lines = [f"{a},{b},{c}" for a, b, c in zip(mjd, ra, dec, strict=True)]
    ephemeris = tmp_path / "e.csv"
    ephemeris.write_text("\n".join(["mjd,ra,dec", *lines]))
    name = "'; DROP TABLE mover; -- <script>"
    campaign.dome("targets", "add", name, "--ephemeris", str(ephemeris))
    campaign.dome("finish", NIGHT)
    assert name in {row["label"] for row in campaign.rows("movers")}
    assert len(campaign.rows("lightcurve", name)) > 0.8 * LIGHTS


def test_sources_in_a_circle_and_a_box(campaign: Campaign) -> None:
    field = campaign.truth.plan.field
    near = campaign.rows("sources", "--ra", str(field.ra), "--dec", str(field.dec), "--radius", "300")
    distances = [float(row["separation"]) for row in near]
    assert distances == sorted(distances)
    assert 5 < len(near) < 100
    assert all(row["confirmed"] == "True" for row in near)
    half = 300 / 3600
    box = f"{field.ra - half},{field.ra + half},{field.dec - half},{field.dec + half}"
    inside = {row["source_id"] for row in campaign.rows("sources", "--box", box)}
    assert inside
    around = campaign.rows("sources", "--ra", str(field.ra), "--dec", str(field.dec), "--radius", "430")
    assert inside <= {row["source_id"] for row in around}
    assert campaign.rows("sources", "--box", f"{field.ra},{field.ra - 1},46,47")
    for wrong in ("1,2,3", "1,2,50,40", "a,b,c,d"):
        assert campaign.dome("sources", "--box", wrong).exit_code == 1
    assert campaign.dome("sources").exit_code == 1
    for words in (("--ra", "31"), ("--dec", "46")):
        half_given = campaign.dome("sources", *words)
        assert half_given.exit_code == 1
        assert "give both, in ICRS degrees" in half_given.stderr
    assert campaign.dome("sources", "--box", box, "--ra", "31", "--dec", "46").exit_code == 1
    assert campaign.dome("variables", "--limit", "-1").exit_code == 2
    assert campaign.dome("sources", "--ra", "200", "--dec", "-40").exit_code == 2


def test_programs_read_the_same(campaign: Campaign) -> None:
    field = campaign.truth.plan.field
    (label, n), *_ = [(row["label"], int(row["n"])) for row in campaign.rows("movers")]
    with campaign.archive() as archive:
        assert len(archive.variables()) == len(campaign.rows("variables"))
        assert len(archive.movers(NIGHT)) == 2
        assert len(archive.movers("1999-01-01")) == 0
        near = archive.sources(ra=field.ra, dec=field.dec, radius=300.0)
        curve = archive.light_curve(source_id=int(near["source_id"][0]))
        again = archive.light_curve(ra=float(near["ra"][0]), dec=float(near["dec"][0]))
        assert len(curve) == len(again) > 0.9 * LIGHTS
        assert curve.time.scale == "tdb"
        assert len(archive.light_curve(label)) == n
        assert "name" in archive.targets().colnames
        box = archive.box(ra_from=31.0, ra_to=31.1, dec_from=46.6, dec_to=46.7)
        assert np.all((np.asarray(box["ra"]) >= 31.0) & (np.asarray(box["ra"]) <= 31.1))
        with pytest.raises(ConfigurationError, match=r"declinations 47 and 46: give .* smaller"):
            archive.box(ra_from=31.0, ra_to=31.1, dec_from=47.0, dec_to=46.0)
        with pytest.raises(LookupError, match="no target is called"):
            archive.light_curve("nobody")
        with pytest.raises(LookupError, match="nothing was measured"):
            archive.light_curve(ra=200.0, dec=-40.0)


def test_the_archive_opens_by_url_too_and_needs_to_know_of_what(campaign: Campaign) -> None:
    with Archive(f"sqlite:///{campaign.dome.root / 'nightflow.sqlite'}") as archive:
        assert len(archive.movers()) == 2
        with pytest.raises(ConfigurationError, match="say of what"):
            archive.light_curve()


def test_the_archive_makes_no_database(tmp_path: Path) -> None:
    missing = tmp_path / "missing.sqlite"
    with pytest.raises(ConfigurationError, match=r"missing\.sqlite: there is no such database"):
        Archive(f"sqlite:///{missing}")
    assert not missing.exists()


def test_again_the_night_changes_nothing(campaign: Campaign, snapshot: Any) -> None:
    campaign.dome("finish", NIGHT)
    before = snapshot(campaign.dome)
    assert campaign.dome("finish", NIGHT).exit_code == 0
    assert snapshot(campaign.dome) == before
