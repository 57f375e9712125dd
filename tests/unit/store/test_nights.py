"""Which frames are of which night, by the longitude of the site."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from nightflow.instruments.header import Site
from nightflow.store.database import Database
from nightflow.store.frames import exposures_of_night, frames_of, record_frames
from nightflow.store.ledger import receive
from nightflow.store.overview import frame_rows
from tests.unit.store.builders import START, add_frame, header, sha

MIDNIGHT_UTC = 61100.0
"""2026-03-01, 00:00 UTC."""


def enter(database: Database, name: str, **changes: Any) -> int:
    received = receive(database, f"/data/{name}", sha(name), 1, now=START)
    record_frames(database, received.exposure_id, [header(**changes)])
    return received.exposure_id


@pytest.mark.parametrize(
    ("hours", "longitude", "night"),
    [
        (0.0, 0.0, "2026-02-28"),
        (11.9, 0.0, "2026-02-28"),
        (12.1, 0.0, "2026-03-01"),
        # Arizona's dawn is at 13 UTC; its noon at 19:24 parts the nights.
        (13.0, -111.6, "2026-02-28"),
        (19.3, -111.6, "2026-02-28"),
        (19.6, -111.6, "2026-03-01"),
        # Australia's evening begins at 9 UTC.
        (9.0, 149.0, "2026-03-01"),
        (1.0, 149.0, "2026-02-28"),
    ],
)
def test_a_night_goes_from_noon_to_noon_at_the_site(
    database: Database, hours: float, longitude: float, night: str
) -> None:
    site = Site(latitude=0.0, longitude=longitude)
    exposure_id = enter(database, "a", mjd_mid=MIDNIGHT_UTC + hours / 24.0, site=site)
    assert frames_of(database, exposure_id)[0].night == night


def test_a_frame_without_a_time_is_of_no_night(database: Database) -> None:
    exposure_id = enter(database, "a", mjd_mid=None)
    assert frames_of(database, exposure_id)[0].night == ""


def test_the_exposures_of_a_night_are_in_order_of_time_and_content(database: Database) -> None:
    same_time = sorted(("x", "y", "z"), key=sha)
    ids = {name: enter(database, name, mjd_mid=MIDNIGHT_UTC) for name in reversed(same_time)}
    ids["first"] = enter(database, "first", mjd_mid=MIDNIGHT_UTC - 0.1)
    enter(database, "other night", mjd_mid=MIDNIGHT_UTC + 1.0)
    receive(database, "/again/x", sha("x"), 1, now=START)
    assert exposures_of_night(database, "2026-02-28") == [ids[name] for name in ("first", *same_time)]
    assert exposures_of_night(database, "2026-02-27") == []


def test_an_exposure_of_many_detectors_counts_once(database: Database) -> None:
    received = receive(database, "/data/mosaic", sha("mosaic"), 1, now=START)
    record_frames(
        database, received.exposure_id, [header(detector=name, hdu=n) for n, name in enumerate("abc")]
    )
    assert exposures_of_night(database, "2026-02-28") == [received.exposure_id]
    assert len(frame_rows(database, night="2026-02-28")) == 3


def test_rows_of_one_night(database: Database) -> None:
    enter(database, "a", mjd_mid=MIDNIGHT_UTC)
    enter(database, "b", mjd_mid=MIDNIGHT_UTC + 1.0)
    assert [row["path"] for row in frame_rows(database, night="2026-03-01")] == ["/data/b"]


def test_rows_from_before_nights_were_kept_get_theirs_when_identified_again(empty_url: str) -> None:
    with Database(empty_url) as database:
        database.upgrade()
        add_frame(database, "a.fits")
        database.downgrade("0001")
        with database.session() as session:
            columns = session.connection().execute(text("SELECT * FROM frame")).keys()
        assert "night" not in columns
        database.upgrade()
        (before,) = frames_of(database, 1)
        assert (before.object, before.night) == ("M 67", "")
        record_frames(database, 1, [header()])
        assert frames_of(database, 1)[0].night == "2026-02-28"
