"""Light curves of what moves: a star of large proper motion, and a body that passes stars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlmodel import col

from nightflow.report.target_curve import named_curve
from nightflow.store.database import Database
from nightflow.store.models import Source
from nightflow.store.records import CatalogIdentity
from nightflow.store.targets import add_target
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, START, add_frame, columns, count, record, stars
from tests.unit.store.field_nights import put_in_order

_YEAR_2012 = 2000.0 + (56000.0 - 51544.5) / 365.25


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'store.sqlite'}") as opened:
        opened.upgrade()
        yield opened


@pytest.mark.parametrize("catalogued", [True, False])
def test_a_star_that_moves_fast_is_found_where_it_was(database: Database, catalogued: bool) -> None:
    """Measured in 2012, 9" from where it stands today; the source may know of the motion or not."""
    ra, dec = stars(4)
    catalog = CatalogIdentity(
        catalog="gaia", known=np.ones(4, bool), ids=np.array(list("abcd")),
        pmra=np.array([600.0, 0.0, 0.0, 0.0]), pmdec=np.zeros(4),
    )  # fmt: skip
    measured = columns(ra, dec, mjd=56000.0, catalog=catalog if catalogued else None)
    append(database, add_frame(database, mjd_mid=56000.0), record(), measured, now=START)
    add_target(database, "fast", ra=float(ra[0]), dec=float(dec[0]), pmra=600.0, epoch=_YEAR_2012)
    curve = named_curve(database, "fast")
    assert curve is not None
    assert len(curve) == 1
    assert curve["ra"][0] == pytest.approx(ra[0])


def _frames(database: Database, ra: np.ndarray, dec: np.ndarray, *, catalogued: bool) -> None:
    n = len(ra)
    catalog = CatalogIdentity(
        catalog="gaia", known=np.arange(n) < 25, ids=np.array([str(one) for one in range(n)]),
        pmra=np.zeros(n), pmdec=np.zeros(n),
    )  # fmt: skip
    for number in range(6):
        mjd = MJD + 0.01 * number
        moved = ra.copy()
        moved[25:] += number * 20.0 / 3600.0
        frame_id = add_frame(database, f"{number}.fits", mjd_mid=mjd, shape=(2000, 2000))
        chain = record(ra_center=float(np.mean(ra)), dec_center=float(np.mean(dec)))
        measured = columns(moved, dec, mjd=mjd, catalog=catalog if catalogued else None)
        append(database, frame_id, chain, measured, now=START)


def test_a_body_that_is_not_seen_takes_no_star_for_itself(database: Database) -> None:
    ra, dec = stars(25)
    _frames(database, ra, dec, catalogued=True)
    place = float(ra[12]), float(dec[12] + 2 / 3600)
    add_target(database, "faint", ephemeris=[(MJD - 1, *place), (MJD + 1, *place)])
    assert named_curve(database, "faint") is None


def test_nor_one_that_a_night_has_settled(database: Database) -> None:
    ra, dec = stars(25)
    _frames(database, ra, dec, catalogued=False)
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE source SET n_position = 6")
    place = float(ra[12]), float(dec[12] + 2 / 3600)
    add_target(database, "faint", ephemeris=[(MJD - 1, *place), (MJD + 1, *place)])
    assert named_curve(database, "faint") is None


def test_one_that_is_seen_is_taken_before_the_night_is_over(database: Database) -> None:
    """Then each of its detections is a source of its own, seen once."""
    ra, dec = stars(25)
    body_ra, body_dec = float(ra[12]), float(dec[12] + 10 / 3600)
    _frames(database, np.append(ra, body_ra), np.append(dec, body_dec), catalogued=True)
    assert count(database, "source", "n_obs = 1") == 6
    rate = 20.0 / 3600.0 / 0.01
    add_target(
        database,
        "seen",
        ephemeris=[(MJD - 0.1, body_ra - 0.1 * rate, body_dec), (MJD + 0.1, body_ra + 0.1 * rate, body_dec)],
    )
    curve = named_curve(database, "seen")
    assert curve is not None
    assert len(curve) == 6
    assert np.diff(curve["ra"]) * 3600 == pytest.approx(np.full(5, 20.0), abs=0.01)


def test_a_slow_body_keeps_its_light_curve_when_the_night_is_put_in_order(database: Database) -> None:
    """0.5" in an hour: the night's association makes a source of it, which is no star at rest."""
    ra, dec = stars(6)
    rate = 12.0 / 3600.0
    body_ra, body_dec = float(ra[2]), float(dec[2])
    for number in range(4):
        ra[2] = body_ra + rate * number / 72.0
        mjd = MJD + number / 72.0
        frame = add_frame(database, f"{number}.fits", mjd_mid=mjd, shape=(2000, 2000))
        chain = record(ra_center=float(ra.mean()), dec_center=float(dec.mean()))
        append(database, frame, chain, columns(ra, dec, mjd=mjd), now=START)
    add_target(
        database, "slow", ephemeris=[(MJD - 1, body_ra - rate, body_dec), (MJD + 1, body_ra + rate, body_dec)]
    )
    before = named_curve(database, "slow")
    assert before is not None
    assert len(before) == 4
    put_in_order(database)
    with database.session() as session:
        settled = select(func.count()).select_from(Source).where(col(Source.n_position) == 4)
        assert session.scalar(settled) == 6
    after = named_curve(database, "slow")
    assert after is not None
    assert len(after) == 4
