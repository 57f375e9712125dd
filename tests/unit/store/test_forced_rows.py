"""Rows of forced apertures: no detections, but they stay with the source that stands there."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import text

from nightflow.report.target_curve import curve_at, named_curve
from nightflow.store.consistency import disagreements, recount
from nightflow.store.database import Database
from nightflow.store.forced_curve import forced_curve
from nightflow.store.records import MeasurementColumns
from nightflow.store.targets import add_target, position_at
from nightflow.store.writer import append
from tests.unit.lightcurves.sky_lists import Sky, observe
from tests.unit.store.builders import MJD, START, add_frame, columns, count, record, stars
from tests.unit.store.field_nights import append_frame, frame_columns, put_in_order

WCS = {"ra_center": 132.82, "dec_center": 11.82, "fwhm_px": 3.0, "wcs_rms_arcsec": 0.1}


def forced(
    ra: np.ndarray, dec: np.ndarray, flux: np.ndarray, *, mjd: float = MJD, moving: np.ndarray | None = None
) -> MeasurementColumns:
    n = len(ra)
    with np.errstate(invalid="ignore"):
        mag = 25.0 - 2.5 * np.log10(flux)
    return columns(
        ra, dec, mjd=mjd, flux=flux, mag=mag, number=-1 - np.arange(n), kind="forced",
        flux_err=np.full(n, 2.0), position_err=np.full(n, np.nan), fwhm_px=np.full(n, np.nan),
        moving=np.zeros(n, bool) if moving is None else moving,
    )  # fmt: skip


def put(database: Database, name: str, *, mjd: float, seen: int = 9, flux: float = -1.0) -> None:
    """Append a frame of ``seen`` stars of 9, with forced apertures at the last and at an empty place."""
    ra, dec = stars(9)
    at_ra, at_dec = np.append(ra[8], ra[0] + 0.005), np.append(dec[8], dec[0] + 0.005)
    rows = columns(ra[:seen], dec[:seen], mjd=mjd).and_those(forced(at_ra, at_dec, np.full(2, flux), mjd=mjd))
    frame_id = add_frame(database, name, mjd_mid=mjd)
    append(database, frame_id, record(name, **WCS), rows, now=START)


def rows(database: Database) -> list[tuple[int, int, int | None, int]]:
    """Return reduction, number, source and association of forced rows."""
    statement = (
        "SELECT reduction_id, number, source_id, association FROM measurement WHERE kind = 'forced' "
        "ORDER BY 1, 2 DESC"
    )
    with database.session() as session:
        return [tuple(row) for row in session.connection().execute(text(statement))]


def wrong(database: Database) -> dict[str, int]:
    return {one.question: one.number for one in disagreements(database) if one.number}


def test_they_make_no_source_count_for_none_and_belong_to_what_stands_there(database: Database) -> None:
    put(database, "a", mjd=MJD)
    put(database, "b", mjd=MJD + 0.01, seen=8)
    assert count(database, "source") == 9
    assert count(database, "source", "n_obs = 2") == 8
    assert count(database, "source", "n_obs = 1") == 1
    first, second = rows(database)[:2], rows(database)[2:]
    assert first[0][2] is not None
    assert first[0][2] == second[0][2]
    assert (first[1][2], second[1][2]) == (None, None)
    assert wrong(database) == {}
    assert recount(database) == 0


def test_a_new_version_counts_them_out_as_it_counted_them_in(database: Database) -> None:
    put(database, "a", mjd=MJD)
    put(database, "b", mjd=MJD + 0.01, seen=8)
    ra, dec = stars(9)
    again = columns(ra[:8], dec[:8], mjd=MJD + 0.01).and_those(
        forced(ra[8:], dec[8:], np.ones(1), mjd=MJD + 0.01)
    )
    append(database, add_frame(database, "b", mjd_mid=MJD + 0.01), record("better", **WCS), again, now=START)
    assert count(database, "source", "n_obs = 1") == 1
    assert wrong(database) == {}


def test_what_moves_belongs_to_no_source(database: Database) -> None:
    put(database, "a", mjd=MJD)
    ra, dec = stars(9)
    passing = forced(ra[:2], dec[:2], np.ones(2), mjd=MJD + 0.01, moving=np.array([True, False]))
    frame_id = add_frame(database, "b", mjd_mid=MJD + 0.01)
    append(
        database, frame_id, record("b", **WCS), columns(ra, dec, mjd=MJD + 0.01).and_those(passing), now=START
    )
    mine = rows(database)[2:]
    assert mine[0][2:] == (None, 0)
    assert mine[1][2] is not None


def test_the_light_curve_of_a_place_where_nothing_was_ever_detected(database: Database) -> None:
    for number in range(3):
        put(database, f"{number}", mjd=MJD + number / 100, flux=[-3.0, 1.0, 30.0][number])
    ra, dec = stars(9)
    add_target(database, "Faint", float(ra[0] + 0.005), float(dec[0] + 0.005))
    curve = named_curve(database, "Faint", kind="forced")
    assert curve is not None
    assert curve["flux"].tolist() == [-3.0, 1.0, 30.0]
    # max(flux, 0) + 3 * 2 electrons/s at a zero point of 25.
    assert curve["upper_limit"][:2] == pytest.approx(25.0 - 2.5 * np.log10([6.0, 7.0]))
    assert np.isnan(curve["upper_limit"][2])
    assert named_curve(database, "Faint") is None
    assert curve_at(database, (200.0, 0.0), kind="forced") is None
    at_a_star = curve_at(database, (float(ra[8]), float(dec[8])), kind="forced")
    assert at_a_star is not None
    assert len(at_a_star) == 3
    assert (at_a_star["source_id"] > 0).all()
    assert np.isfinite(at_a_star["diff_mag"][2])


def test_a_moving_target_s_rows_lie_on_its_ephemeris(database: Database) -> None:
    target = add_target(database, "Ceres", ephemeris=[(MJD - 1, 132.77, 11.79), (MJD + 1, 132.87, 11.84)])
    ra, dec = stars(9)
    for number in range(4):
        mjd = MJD + number / 50
        place = position_at(target, mjd)
        assert place is not None
        moving = forced(
            np.array([place[0]]),
            np.array([place[1]]),
            np.array([10.0 + number]),
            mjd=mjd,
            moving=np.array([True]),
        )
        frame_id = add_frame(database, f"{number}", mjd_mid=mjd)
        append(
            database,
            frame_id,
            record(f"{number}", **WCS),
            columns(ra, dec, mjd=mjd).and_those(moving),
            now=START,
        )
    curve = named_curve(database, "Ceres", kind="forced")
    assert curve is not None
    assert curve["flux"].tolist() == [10.0, 11.0, 12.0, 13.0]
    elsewhere = forced_curve(database, lambda mjd: (132.80, 11.99))
    assert len(elsewhere) == 0


def test_a_body_that_passes_a_place_lends_it_no_rows_and_takes_none(database: Database) -> None:
    """Half an arcsec from the place on one frame; the star's own aperture was put on the other alone."""
    ra, dec = stars(9)
    star = float(ra[0] + 0.005), float(dec[0] + 0.005)
    body = star[0], star[1] + 0.5 / 3600.0
    add_target(database, "star", *star)
    add_target(database, "body", ephemeris=[(MJD - 1, *body), (MJD + 1, *body)])
    for number, (place, moves) in enumerate([(body, True), (star, False)]):
        mjd = MJD + number / 100
        row = forced(
            *(np.array([one]) for one in place), np.full(1, 10.0 + number), mjd=mjd, moving=np.array([moves])
        )
        frame_id = add_frame(database, f"{number}", mjd_mid=mjd)
        seen = columns(ra, dec, mjd=mjd).and_those(row)
        append(database, frame_id, record(f"{number}", **WCS), seen, now=START)
    for name, flux in (("body", 10.0), ("star", 11.0)):
        curve = named_curve(database, name, kind="forced")
        assert curve is not None
        assert curve["flux"].tolist() == [flux]


def test_the_night_s_association_leaves_them_with_their_source_and_are_no_detections(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sky = Sky(n_stars=60, n_frames=6, side=800.0, dropout=0.0, false_a_frame=3)
    seen = observe(sky)
    plain = frame_columns(seen, 0, sky)
    ra, dec = plain.ra[:3], plain.dec[:3]
    # The middle of nowhere, and what moves over a star.
    ra, dec = np.append(ra, [ra[0] + 3.0, ra[0]]), np.append(dec, [dec[0], dec[0]])
    moving = np.array([False, False, False, False, True])

    def with_forced(seen_now: object, frame: int, *rest: object, **options: object) -> MeasurementColumns:
        bare = frame_columns(seen, frame, sky)
        return bare.and_those(forced(ra, dec, np.full(5, -1.0), mjd=bare.mjd_mid, moving=moving))

    monkeypatch.setattr("tests.unit.store.field_nights.frame_columns", with_forced)
    for frame in reversed(range(sky.n_frames)):
        append_frame(database, sky, frame, seen)
    before = count(database, "measurement", "kind = 'forced'")
    ordered = put_in_order(database)
    assert ordered.n_detections == count(database, "measurement", "kind = 'aperture'")
    assert count(database, "measurement", "kind = 'forced'") == before == 5 * sky.n_frames
    table = np.array([[row[1], row[2] or 0, row[3]] for row in rows(database)])
    for number in (-1, -2, -3):
        assert len(set(table[table[:, 0] == number, 1].tolist())) == 1
        assert (table[table[:, 0] == number, 1] > 0).all()
    assert (table[table[:, 0] <= -4, 1] == 0).all()
    assert (table[table[:, 0] == -5, 2] == 0).all()
    assert wrong(database) == {}
    assert not put_in_order(database).changed
