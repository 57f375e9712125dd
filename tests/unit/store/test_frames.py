from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlmodel import select

from nightflow.errors import FrameRejected
from nightflow.store.database import Database
from nightflow.store.frames import (
    camera_of,
    exposures_with_frames,
    frames_of,
    get_frame,
    record_frames,
    settle_frame,
)
from nightflow.store.leases import LeaseLost, lease_exposure
from nightflow.store.ledger import receive, requeue, settle_exposure
from nightflow.store.models import Exposure, State, finite
from nightflow.store.overview import current_reduction
from nightflow.store.writer import append
from tests.unit.store.builders import (
    MJD,
    START,
    columns,
    count,
    everything,
    header,
    record,
    sha,
    stars,
)


@pytest.fixture
def exposure_id(database: Database) -> int:
    return receive(database, "/data/a.fits", sha("a"), 1, now=START).exposure_id


def test_frames_hold_the_normalised_header(database: Database, exposure_id: int) -> None:
    record_frames(database, exposure_id, [header(hdu=2, binning=(2, 1), ccd_temp=-10.0, ra=10.0)])
    frame = frames_of(database, exposure_id)[0]
    assert (frame.kind, frame.object, frame.filter, frame.hdu) == ("light", "M 67", "V", 2)
    assert (frame.ny, frame.nx, frame.binning) == (100, 120, "2x1")
    assert (frame.mjd_mid, frame.ccd_temp, frame.ra, frame.dec) == (MJD, -10.0, 10.0, None)


def test_again_changes_nothing(database: Database, exposure_id: int) -> None:
    headers = [header(detector="a", hdu=1), header(detector="b", hdu=2)]
    ids = record_frames(database, exposure_id, headers)
    settle_frame(database, ids[0], State.DONE, "")
    before = everything(database)
    assert record_frames(database, exposure_id, headers) == ids
    assert everything(database) == before


def test_a_better_header_changes_the_row(database: Database, exposure_id: int) -> None:
    first = record_frames(database, exposure_id, [header(filter="")])
    assert record_frames(database, exposure_id, [header(filter="R")]) == first
    assert frames_of(database, exposure_id)[0].filter == "R"


def test_who_has_lost_the_exposure_enters_nothing(database: Database, exposure_id: int) -> None:
    """Else it would put away what was found meanwhile of detectors that it names otherwise."""
    assert lease_exposure(database, exposure_id, "first", now=START, seconds=10) is not None
    (row,) = record_frames(database, exposure_id, [header(detector="a")], worker="first")
    after = START + timedelta(seconds=20)
    assert lease_exposure(database, exposure_id, "second", now=after, seconds=10) is not None
    append(database, row, record(), columns(*stars(20)), now=after, worker="second")
    for settled in (False, True):
        if settled:
            settle_frame(database, row, State.DONE, "", worker="second")
            settle_exposure(database, exposure_id, State.DONE, "", now=after, worker="second")
        before = everything(database)
        with pytest.raises(LeaseLost, match=f"exposure {exposure_id}: first holds it no more"):
            record_frames(database, exposure_id, [header(detector="b")], worker="first")
        assert everything(database) == before


def test_settling_keeps_the_traceback(database: Database, exposure_id: int) -> None:
    frame_id = record_frames(database, exposure_id, [header()])[0]
    settle_frame(database, frame_id, State.FAILED, "KeyError: 'x'", traceback="Traceback ...")
    frame = frames_of(database, exposure_id)[0]
    assert (frame.state, frame.reason, frame.traceback) == ("failed", "KeyError: 'x'", "Traceback ...")


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE frame; --", "../../etc/passwd", "<script>alert(1)</script>", "☄" * 10_000]
)
def test_hostile_names_are_stored_as_they_are(database: Database, exposure_id: int, name: str) -> None:
    record_frames(database, exposure_id, [header(object=name, filter=name)])
    frame = frames_of(database, exposure_id)[0]
    assert (frame.object, frame.filter) == (name, name)


def test_nul_is_stored_as_an_escape_everywhere(database: Database, exposure_id: int) -> None:
    headers = [header(object="M\x0067", detector="\x00")]
    assert record_frames(database, exposure_id, headers) == record_frames(database, exposure_id, headers)
    assert frames_of(database, exposure_id)[0].object == "M\\x0067"


def test_what_is_not_a_number_is_null(database: Database, exposure_id: int) -> None:
    record_frames(database, exposure_id, [header(airmass=math.nan, ra=math.inf, mjd_mid=math.nan)])
    frame = frames_of(database, exposure_id)[0]
    assert (frame.airmass, frame.ra, frame.mjd_mid) == (None, None, None)


def test_an_exposure_time_that_is_no_number_rejects(database: Database, exposure_id: int) -> None:
    with pytest.raises(FrameRejected, match="exposure time nan of detector 1"):
        record_frames(database, exposure_id, [header(exptime=math.nan)])
    assert frames_of(database, exposure_id) == []


@pytest.mark.parametrize("mjd", [1e9, -1e9])
def test_a_time_without_a_date_rejects(database: Database, exposure_id: int, mjd: float) -> None:
    with pytest.raises(FrameRejected, match=rf"detector 1: MJD {mjd:.10g} is outside the years 1 to 9999"):
        record_frames(database, exposure_id, [header(mjd_mid=mjd)])


def test_finite() -> None:
    assert finite(1) == 1.0
    assert [finite(value) for value in (None, math.nan, math.inf, -math.inf)] == [None] * 4


class TestDetectorsThatTheFileHoldsNoMore:
    """Another profile recognised it, or names them otherwise."""

    def test_their_rows_go_where_nothing_was_made_of_them(self, database: Database, exposure_id: int) -> None:
        record_frames(database, exposure_id, [header(instrument="A", detector="a", hdu=1)])
        (row,) = record_frames(database, exposure_id, [header(instrument="B", detector="b", hdu=1)])
        assert [frame.id for frame in frames_of(database, exposure_id)] == [row]
        assert count(database, "frame") == 1

    def test_what_was_made_of_them_stays_and_is_in_no_light_curve(
        self, database: Database, exposure_id: int
    ) -> None:
        (old,) = record_frames(database, exposure_id, [header(instrument="A", detector="a", hdu=1)])
        append(database, old, record(), columns(*stars(20)), now=START)
        settle_frame(database, old, State.DONE, "")
        (new,) = record_frames(database, exposure_id, [header(instrument="B", detector="b", hdu=1)])
        assert [frame.id for frame in frames_of(database, exposure_id)] == [new]
        assert camera_of(frames_of(database, exposure_id)) == "B"
        assert exposures_with_frames(database)[0][1] == get_frame(database, new)
        gone = get_frame(database, old)
        assert gone.state == State.DUPLICATE
        assert "holds no detector 'a' of camera A" in gone.reason
        assert current_reduction(database, old) is None
        assert count(database, "reduction") == 1
        assert count(database, "source", "n_obs > 0") == 0

    def test_one_that_is_back_is_reduced_again(self, database: Database, exposure_id: int) -> None:
        (old,) = record_frames(database, exposure_id, [header(detector="a")])
        append(database, old, record(), columns(*stars(20)), now=START)
        record_frames(database, exposure_id, [header(detector="b")])
        requeue(database, [exposure_id], now=START)
        assert get_frame(database, old).state == State.DUPLICATE
        assert record_frames(database, exposure_id, [header(detector="a")]) == [old]
        assert [(one.id, one.state) for one in frames_of(database, exposure_id)] == [(old, State.RECEIVED)]


def test_who_changes_the_exposure_and_who_enters_its_frames_lock_in_one_order(full_postgres: str) -> None:
    """Each would wait for what the other holds."""
    with Database(full_postgres, busy_seconds=20) as database:
        exposure_id = receive(database, "/data/a.fits", sha("a"), 1, now=START).exposure_id
        record_frames(database, exposure_id, [header(detector="a")])
        both = [header(detector="a", filter="R"), header(detector="b")]
        with ThreadPoolExecutor(1) as pool:
            with database.write() as session:
                session.exec(select(Exposure).where(Exposure.id == exposure_id).with_for_update()).one()
                entered = pool.submit(record_frames, database, exposure_id, both)
                time.sleep(0.5)
                session.connection().exec_driver_sql(
                    f"UPDATE frame SET reason = 'x' WHERE exposure_id = {exposure_id}"
                )
            assert len(entered.result(20)) == 2
