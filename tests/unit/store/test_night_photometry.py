from __future__ import annotations

import numpy as np
import pytest
from sqlmodel import select

from nightflow.store.database import Database
from nightflow.store.lent_zero_points import LentZeroPoint, write_lent
from nightflow.store.models import Measurement, NightSolution, NightZeroPoint, Reduction
from nightflow.store.night_photometry import (
    earlier_zero_points,
    measured_stars,
    night_solutions,
    night_zero_points,
    photometric_frames,
    write_night_solutions,
)
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, START, add_frame, columns, record, stars

MINUTE = 1 / 1440


def appended(database: Database, number: int, **changes: object) -> tuple[int, int]:
    """Return the rows of a frame and of its reduction."""
    mjd = MJD + number * MINUTE
    frame = add_frame(database, f"{number}.fits", mjd_mid=mjd, airmass=1.0 + 0.1 * number)
    ra, dec = stars(4)
    values = {
        "ra_center": 132.8,
        "dec_center": 11.8,
        "zp_catalog": "gaia",
        "zp_err": 0.01,
        "zp_origin": "frame",
    }
    flux = np.array([1e4, 1e3, 0.01, -3.0])
    made = append(
        database, frame, record(f"plan {number}", **(values | changes)), columns(ra, dec, mjd=mjd, flux=flux),
        now=START,
    )  # fmt: skip
    return frame, made.reduction_id


def night_of(database: Database) -> str:
    with database.session() as session:
        from nightflow.store.models import Frame

        return session.exec(select(Frame.night)).first() or ""


def solution(night: str, **changes: object) -> NightSolution:
    values = {
        "night": night, "instrument": "testcam", "detector": "", "filter": "V", "catalog": "gaia",
        "band": "V", "mag_system": "Vega", "color": "B-V", "n_frames": 2, "n_clear": 2,
        "n_stars": 4, "n_measurements": 8,
        "n_rejected": 0, "color_term": 0.05, "color_term_err": 0.01, "pivot": 1.2, "extinction": 0.12,
        "extinction_err": 0.004, "extinction_color": 0.6, "zp": 25.2, "zp_err": 0.01,
        "transparency_scatter": 0.004, "star_scatter": 0.01, "noise": 0.002, "reason": "",
    }  # fmt: skip
    return NightSolution(**(values | changes))


def point(reduction_id: int, zp: float = 25.0) -> NightZeroPoint:
    return NightZeroPoint(reduction_id=reduction_id, solution_id=0, zp=zp, zp_err=0.01, zp_err_own=0.001)


def test_a_solution_is_read_as_it_was_written(database: Database) -> None:
    _, first = appended(database, 0)
    _, second = appended(database, 1)
    night = night_of(database)
    assert write_night_solutions(database, night, [(solution(night), [point(first), point(second, 24.9)])])
    (read,) = night_solutions(database, night)
    assert (read.extinction, read.color_term, read.color) == (0.12, 0.05, "B-V")
    assert [one.zp for one in night_zero_points(database, read.id or 0)] == [25.0, 24.9]
    assert night_solutions(database, "1999-01-01") == []


def test_the_same_again_changes_nothing_and_another_replaces_it(database: Database) -> None:
    _, first = appended(database, 0)
    night = night_of(database)
    assert write_night_solutions(database, night, [(solution(night), [point(first)])])
    before = night_solutions(database, night)[0].id
    assert not write_night_solutions(database, night, [(solution(night), [point(first)])])
    assert night_solutions(database, night)[0].id == before
    assert write_night_solutions(database, night, [(solution(night, extinction=0.2), [point(first, 24.0)])])
    (read,) = night_solutions(database, night)
    assert read.extinction == 0.2
    assert [one.zp for one in night_zero_points(database, read.id or 0)] == [24.0]


def test_frames_of_a_night_and_their_stars(database: Database) -> None:
    appended(database, 1)
    appended(database, 0)
    with database.session() as session:
        frames = photometric_frames(session, night_of(database))
        measured = measured_stars(session, frames)
    assert [round(one.airmass or 0, 1) for one in frames] == [1.0, 1.1]
    assert sorted(set(measured.flux)) == [1e3, 1e4]
    assert len(measured) == 4


def test_only_earlier_frames_with_a_zero_point_of_their_own_lend(database: Database) -> None:
    appended(database, 0)
    appended(database, 1, zp=None)
    appended(database, 2, zp_origin="night")
    frame, _ = appended(database, 3)
    appended(database, 4)
    assert [one.airmass for one in earlier_zero_points(database, frame)] == [1.0]


def test_a_lent_zero_point_comes_with_magnitudes_and_a_warning(database: Database) -> None:
    _, reduction = appended(database, 0, zp=None, warnings=("no zero point: two stars", "dust"))
    values = {"zp": 24.5, "zp_err": 0.03, "zp_origin": "night", "zp_band": "V", "mag_system": "Vega"}
    lent = LentZeroPoint(
        reduction, values, "the zero point is that of the night: clouds", lambda ra, dec: 0.1 * (ra > 0)
    )
    assert write_lent(database, [lent]) == 1
    with database.session() as session:
        row = session.get(Reduction, reduction)
        assert row is not None
        assert (row.zp, row.zp_origin) == (24.5, "night")
        assert row.warnings == ["dust", "the zero point is that of the night: clouds"]
        mags = session.exec(select(Measurement.mag).order_by(Measurement.number)).all()
    assert mags[0] == pytest.approx(24.6 - 10.0)
    assert mags[1] == pytest.approx(24.6 - 7.5)
    assert mags[3] is None
    assert write_lent(database, [lent]) == 0
