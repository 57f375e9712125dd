"""A night of star lists in a store, solved as `finish` does it: rows written once, and zero points lent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.catalogs.tiles import write_catalog
from nightflow.instruments.profile import CameraProfile
from nightflow.pipeline.night_photometry import NightPhotometry, solve_photometry
from nightflow.store.database import Database
from nightflow.store.frames import settle_frame
from nightflow.store.models import State
from nightflow.store.night_photometry import night_solutions, night_zero_points
from nightflow.store.overview import frame_rows
from nightflow.store.writer import append
from tests.unit.photcal.night_lists import SECOND, TERM, SimulatedNight, simulate
from tests.unit.store.builders import MJD, START, add_frame, columns, count, everything, record, stars
from tests.unit.store.conftest import *  # noqa: F403  (the stores of both kinds)

NIGHT = "2026-02-28"
"""That of `MJD`, at a site of no known longitude."""
N_STARS, N_FRAMES, GAIN = 60, 9, 2.0
FEW, BLIND = 4, 6
"""The frame that shows two reference stars, and the one that shows none."""
TOO_FEW = "no zero point: 2 of 2 matched stars are usable; 3 needed (catalogue field, band R)"
TABLES = ("night_solution", "night_zero_point")


@dataclass
class Dome:
    """A store with a simulated night, and its catalogue."""

    database: Database
    catalogs: LocalCatalogs
    truth: SimulatedNight
    reductions: list[int]

    def finish(self, catalogs: LocalCatalogs | None = None) -> NightPhotometry:
        profiles = {"testcam": CameraProfile(name="testcam")}
        return solve_photometry(self.database, catalogs or self.catalogs, profiles, NIGHT)

    def row(self, number: int) -> dict[str, Any]:
        rows = frame_rows(self.database, night=NIGHT)
        return next(row for row in rows if row["reduction_id"] == self.reductions[number])

    def dump(self) -> list[Any]:
        return [everything(self.database), *(self.rows(table) for table in TABLES)]

    def rows(self, table: str) -> list[str]:
        with self.database.session() as session:
            return sorted(map(str, session.connection().exec_driver_sql(f"SELECT * FROM {table}").all()))


def catalog(folder: Path, truth: SimulatedNight, *, brighter: float = 0.0) -> LocalCatalogs:
    ra, dec = stars(N_STARS)
    red, zeros = truth.reference.mag - brighter, np.zeros(N_STARS)
    field = ReferenceStars(
        catalog="field", ra=ra, dec=dec, pmra=zeros, pmdec=zeros, epoch=2016.0,
        ids=np.array([f"star {number}" for number in range(N_STARS)]),
        mags={"R": red, "V": red + truth.reference.color},
        mag_errs={"R": np.full(N_STARS, 0.01), "V": np.full(N_STARS, 0.01)},
    )  # fmt: skip
    write_catalog(folder, field, source="simulated", created="2026-01-01T00:00:00+00:00")
    return LocalCatalogs(folder)


def enter(database: Database, truth: SimulatedNight, number: int, shown: int) -> int:
    """Append a frame that shows the first of the stars, and one source that no catalogue knows."""
    rows = truth.stars.frame == number
    mag, error = truth.stars.mag[rows][:shown], truth.stars.error[rows][:shown]
    flux = np.append(10 ** (-0.4 * mag), 50.0)
    ra, dec = stars(N_STARS)
    ra, dec = np.append(ra[:shown], ra[-1] + 0.1), np.append(dec[:shown], dec[-1] + 0.1)
    mjd = MJD + truth.frames.hours[number] / 24
    airmass = float(truth.frames.airmass[number])
    frame = add_frame(database, f"{number}.fits", filter="R", mjd_mid=mjd, airmass=airmass, shape=(700, 700))
    own = {
        "zp": truth.zero_point[number], "zp_err": 0.01, "zp_origin": "frame", "zp_catalog": "field",
        "zp_band": "R",
    }  # fmt: skip
    none = {"zp": None, "zp_band": None, "mag_system": None, "warnings": ("dust", TOO_FEW)}
    known = shown >= 3
    made = append(
        database, frame,
        record(f"plan {number}", ra_center=132.85, dec_center=11.85, gain=GAIN, **(own if known else none)),
        columns(ra, dec, mjd=mjd, flux=flux, flux_err=flux * np.append(error, 0.01) / 1.0857, filter="R"),
        now=START,
    )  # fmt: skip
    settle_frame(database, frame, State.DONE, "" if known else f"dust; {TOO_FEW}")
    return made.reduction_id


@pytest.fixture
def dome(database: Database, tmp_path: Path) -> Dome:
    truth = simulate(11, n_stars=N_STARS, n_frames=N_FRAMES)
    shown = {FEW: 2, BLIND: 0}
    reductions = [enter(database, truth, number, shown.get(number, N_STARS)) for number in range(N_FRAMES)]
    return Dome(database, catalog(tmp_path / "catalogs", truth), truth, reductions)


def test_a_night_is_written_once(dome: Dome) -> None:
    assert (count(dome.database, "night_solution"), count(dome.database, "night_zero_point")) == (0, 0)
    first = dome.finish()
    assert (first.changed, first.n_lent) == (True, 2)
    (solution,) = night_solutions(dome.database, NIGHT)
    assert (solution.catalog, solution.band, solution.color) == ("field", "R", "V-R")
    assert solution.n_frames == N_FRAMES - 1
    assert solution.color_term == pytest.approx(
        TERM + SECOND * solution.pivot, abs=4 * (solution.color_term_err or 0)
    )
    points = {one.reduction_id: one for one in night_zero_points(dome.database, solution.id or 0)}
    assert sorted(points) == sorted(set(dome.reductions) - {dome.reductions[BLIND]})
    for number, reduction in enumerate(dome.reductions):
        if number != BLIND:
            point = points[reduction]
            assert point.zp == pytest.approx(dome.truth.zero_point[number], abs=4 * point.zp_err)


def test_again_changes_no_row(dome: Dome) -> None:
    dome.finish()
    before = dome.dump()
    again = dome.finish()
    assert (again.changed, again.n_lent) == (False, 0)
    assert dome.dump() == before


def test_another_solution_replaces_the_first(dome: Dome, tmp_path: Path) -> None:
    """The catalogue was 0.1 mag too faint: frames that lean on it follow, and no row is there twice."""
    dome.finish()
    before, sizes = dome.row(FEW), [len(dome.rows(table)) for table in TABLES]
    again = dome.finish(catalog(tmp_path / "brighter", dome.truth, brighter=0.1))
    assert (again.changed, again.n_lent) == (True, 2)
    assert [len(dome.rows(table)) for table in TABLES] == sizes == [1, N_FRAMES - 1]
    after = dome.row(FEW)
    assert after["zp"] == pytest.approx(before["zp"] - 0.1, abs=1e-3)
    assert after["reason"].count("the zero point is that of the night") == 1
    assert dome.row(0)["zp"] == pytest.approx(dome.truth.zero_point[0])


@pytest.mark.parametrize(("number", "n_stars"), [(FEW, 2), (BLIND, 0)])
def test_a_frame_with_too_few_stars_gets_what_the_night_says(dome: Dome, number: int, n_stars: int) -> None:
    before = dome.row(number)
    assert (before["zp"], before["zp_origin"], before["reason"]) == (None, None, f"dust; {TOO_FEW}")
    dome.finish()
    row = dome.row(number)
    assert (row["zp_origin"], row["zp_n_stars"], row["zp_catalog"]) == ("night", n_stars, "field")
    assert row["reason"].startswith("dust; the zero point is that of the night")
    assert "no zero point" not in row["reason"]
    assert row["zp"] == pytest.approx(dome.truth.zero_point[number], abs=4 * row["zp_err"])
    assert row["zp_err"] < 0.03
    assert row["zp_adu"] == pytest.approx(row["zp"] - 2.5 * np.log10(GAIN))
    true_term = TERM + SECOND * dome.truth.frames.airmass[number]
    assert row["color_term"] == pytest.approx(true_term, abs=4 * row["color_term_err"])
    assert dome.row(0)["zp_origin"] == "frame"


def test_lent_magnitudes_hold_the_colour_of_the_star(dome: Dome) -> None:
    dome.finish()
    row = dome.row(FEW)
    with dome.database.session() as session:
        found = session.connection().exec_driver_sql(
            f"SELECT flux, mag FROM measurement WHERE reduction_id = {dome.reductions[FEW]} ORDER BY number"
        )
        flux, mag = np.array(found.all(), float).T
    color = (mag + 2.5 * np.log10(flux) - row["zp"]) / row["color_term"]
    # What the catalogue does not know is of the mean colour of the stars: 0.48 in the simulator.
    np.testing.assert_allclose(color[:2], dome.truth.reference.color[:2], atol=1e-3)
    assert color[2] == pytest.approx(0.48, abs=0.05)
