from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, select

from nightflow.store.copies import move
from nightflow.store.frames import record_frames
from nightflow.store.leases import lease_exposure
from nightflow.store.ledger import PLACE, receive, requeue, settle_exposure
from nightflow.store.models import Frame, Reduction, Source, State
from nightflow.store.overview import get_exposure
from nightflow.store.supersede import supersede_replaced
from nightflow.store.writer import append
from tests.unit.store.builders import columns, header, record, stars

NOW = datetime(2026, 3, 1, tzinfo=UTC)


OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64


def reduced(database, sha256, path="/raw/a.fits", now=NOW, **changes):
    exposure_id = receive(database, path, sha256, 10, now=now).exposure_id
    return exposure_id, reduce(database, exposure_id, **changes)


def reduce(database, exposure_id, **changes):
    frame_id = record_frames(database, exposure_id, [replace(header(), **changes)])[0]
    append(database, frame_id, record(), columns(*stars(20)), now=NOW)
    settle_exposure(database, exposure_id, State.DONE, "", now=NOW)
    return frame_id


def holding(*contents):
    """Return what asks the disk: each path holds the content that is given for it."""
    return dict(contents).get


def current(database):
    with database.session() as session:
        return list(session.exec(select(Reduction.frame_id).where(col(Reduction.current))))


def test_the_same_frame_written_anew_is_in_the_light_curves_once(database):
    old, _ = reduced(database, "a" * 64)
    new, frame = reduced(database, "b" * 64)
    assert supersede_replaced(database, new, holding(("/raw/a.fits", NEW)), now=NOW) == [old]
    assert current(database) == [frame]
    gone = get_exposure(database, old)
    assert (gone.state, gone.waits_for) == (State.REJECTED, PLACE)
    assert f"exposure {new}" in gone.reason
    with database.session() as session:
        assert {source.n_obs for source in session.exec(select(Source))} == {1}


def test_another_moment_under_a_path_used_again_stays(database):
    old, frame = reduced(database, "a" * 64)
    new, other = reduced(database, "b" * 64, mjd_mid=header().mjd_mid + 1.0)
    assert supersede_replaced(database, new, holding(("/raw/a.fits", NEW)), now=NOW) == []
    assert sorted(current(database)) == sorted([frame, other])
    assert get_exposure(database, old).state == State.DONE


def test_old_content_that_is_done_after_the_new_retires_itself(database):
    """Two workers: the one with the old content took longer."""
    old, _ = reduced(database, OLD)
    new, frame = reduced(database, NEW)
    assert supersede_replaced(database, old, holding(("/raw/a.fits", NEW)), now=NOW) == [old]
    assert current(database) == [frame]
    assert get_exposure(database, new).state == State.DONE


def test_new_content_that_is_still_in_work_is_not_retired(database):
    old, frame = reduced(database, OLD)
    new = receive(database, "/raw/a.fits", NEW, 10, now=NOW).exposure_id
    record_frames(database, new, [header()])
    assert supersede_replaced(database, old, holding(("/raw/a.fits", NEW)), now=NOW) == []
    assert current(database) == [frame]
    assert get_exposure(database, new).state == State.RECEIVED


def test_where_the_file_is_gone_what_was_queued_last_stays(database):
    old, _ = reduced(database, OLD)
    _, frame = reduced(database, NEW, now=NOW + timedelta(seconds=9))
    assert supersede_replaced(database, old, holding(), now=NOW) == [old]
    assert current(database) == [frame]


def test_content_that_was_put_back_before_the_new_one_was_reduced_stays(database):
    """It was done already, so nothing was queued when it was seen again."""
    old, frame = reduced(database, OLD)
    new, _ = reduced(database, NEW, now=NOW + timedelta(seconds=9))
    assert supersede_replaced(database, new, holding(("/raw/a.fits", OLD)), now=NOW) == [new]
    assert current(database) == [frame]
    assert get_exposure(database, old).state == State.DONE


def test_content_that_was_put_back_supersedes_what_had_replaced_it(database):
    old, frame = reduced(database, OLD)
    new, _ = reduced(database, NEW)
    supersede_replaced(database, new, holding(("/raw/a.fits", NEW)), now=NOW)
    assert receive(database, "/raw/a.fits", OLD, 10, now=NOW + timedelta(seconds=9)).is_new
    reduce(database, old)
    assert supersede_replaced(database, old, holding(("/raw/a.fits", OLD)), now=NOW) == [new]
    assert current(database) == [frame]
    with database.session() as session:
        assert {source.n_obs for source in session.exec(select(Source))} == {1}
    assert receive(database, "/raw/a.fits", NEW, 10, now=NOW + timedelta(seconds=19)).is_new


def test_a_corrected_file_supersedes_also_what_lives_on_in_a_copy(database):
    """The copy became the exposure's file when its own was overwritten; the frame is one nevertheless."""
    old, _ = reduced(database, OLD)
    receive(database, "/backup/a.fits", OLD, 10, now=NOW)
    move(database, OLD, "/raw/a.fits", "/backup/a.fits")
    new, frame = reduced(database, NEW)
    on_disk = holding(("/raw/a.fits", NEW), ("/backup/a.fits", OLD))
    assert supersede_replaced(database, new, on_disk, now=NOW) == [old]
    assert current(database) == [frame]
    assert not receive(database, "/backup/a.fits", OLD, 10, now=NOW).is_new, "a copy of it is no news"


def test_the_same_moment_under_another_path_is_another_camera(database):
    _, one = reduced(database, OLD)
    new, other = reduced(database, NEW, path="/raw/b.fits")
    assert supersede_replaced(database, new, holding(("/raw/b.fits", NEW)), now=NOW) == []
    assert sorted(current(database)) == sorted([one, other])


def test_each_of_several_older_ones_is_retired(database):
    old, _ = reduced(database, OLD)
    other, _ = reduced(database, OTHER)
    new, frame = reduced(database, NEW)
    requeue(database, [old], now=NOW)
    assert supersede_replaced(database, new, holding(("/raw/a.fits", NEW)), now=NOW) == [old, other]
    assert current(database) == [frame]


def test_a_version_that_is_retired_in_work_is_lost_by_who_has_it(database):
    """What it is worth is settled; whoever reduces it must not write another end."""
    old = receive(database, "/raw/a.fits", OLD, 10, now=NOW).exposure_id
    record_frames(database, old, [header()])
    assert lease_exposure(database, old, "worker", now=NOW, seconds=600) is not None
    new, _ = reduced(database, NEW, now=NOW + timedelta(seconds=1))
    assert supersede_replaced(database, new, holding(("/raw/a.fits", NEW)), now=NOW) == [old]
    gone = get_exposure(database, old)
    assert (gone.state, gone.leased_by, gone.lease_until, gone.done_at) == (State.REJECTED, None, None, NOW)
    assert not settle_exposure(database, old, State.FAILED, "LeaseLost", now=NOW, worker="worker")
    assert get_exposure(database, old) == gone


class TestFramesThatAreFiledFromOneName:
    """As fast photometry: two frames within half a second, both latest.fits first."""

    LATEST, A, B = "/raw/latest.fits", "/raw/A.fits", "/raw/B.fits"

    def filed(self, database, sha256, path, now=NOW, **changes):
        exposure_id, frame_id = reduced(database, sha256, self.LATEST, now, **changes)
        receive(database, path, sha256, 10, now=now)
        return exposure_id, frame_id

    def next_one(self, database):
        """Return the hash of the frame that lies under the first name by now, a second later."""
        reduced(database, OTHER, self.LATEST, NOW + timedelta(seconds=2), mjd_mid=header().mjd_mid + 2e-5)
        return OTHER

    @pytest.mark.parametrize("moved", [[(OLD, A)], [(OLD, A), (NEW, B)]])
    @pytest.mark.parametrize("first", [OLD, NEW])
    def test_none_is_retired_for_another(self, database, moved, first):
        a, one = self.filed(database, OLD, self.A)
        b, other = self.filed(database, NEW, self.B, NOW + timedelta(seconds=1))
        for sha256, path in moved:
            move(database, sha256, self.LATEST, path)
        on_disk = holding((self.A, OLD), (self.B, NEW), (self.LATEST, self.next_one(database)))
        assert supersede_replaced(database, a if first == OLD else b, on_disk, now=NOW) == []
        assert {one, other} <= set(current(database))

    @pytest.mark.parametrize("identified", [True, False])
    def test_nor_before_the_second_is_filed(self, database, identified):
        self.filed(database, OLD, self.A)
        b, _ = reduced(database, NEW, self.LATEST, NOW + timedelta(seconds=1))
        move(database, OLD, self.LATEST, self.A)
        receive(database, self.LATEST, OTHER, 10, now=NOW)
        if identified:
            self.next_one(database)
        on_disk = holding((self.A, OLD), (self.LATEST, OTHER))
        assert supersede_replaced(database, b, on_disk, now=NOW) == []

    def test_nor_where_they_are_the_first_under_that_name(self, database):
        self.filed(database, OLD, self.A)
        b, _ = self.filed(database, NEW, self.B, NOW + timedelta(seconds=1))
        move(database, OLD, self.LATEST, self.A)
        on_disk = holding((self.A, OLD), (self.B, NEW), (self.LATEST, NEW))
        assert supersede_replaced(database, b, on_disk, now=NOW) == []

    def test_a_corrected_file_of_a_name_that_is_used_each_night_replaces_its_old_content(self, database):
        self.next_one(database)
        old, _ = reduced(database, OLD, self.LATEST)
        new, frame = reduced(database, NEW, self.LATEST, NOW + timedelta(seconds=9))
        assert supersede_replaced(database, new, holding((self.LATEST, NEW)), now=NOW) == [old]
        assert frame in current(database)


class TestADetectorThatTheFileHoldsNoMore:
    def put_away(self, database, exposure_id, detector):
        with database.write() as session:
            frames = select(Frame).where(Frame.exposure_id == exposure_id, Frame.detector == detector)
            frame = session.exec(frames).one()
            frame.state, frame.reason = State.DUPLICATE, "it holds no such detector"
            return frame.id

    def test_it_stays_a_duplicate_as_its_exposure_is_retired(self, database):
        old = receive(database, "/raw/a.fits", OLD, 10, now=NOW).exposure_id
        record_frames(database, old, [header(), replace(header(), detector="gone")])
        frame_id = self.put_away(database, old, "gone")
        new, _ = reduced(database, NEW, now=NOW + timedelta(seconds=9))
        assert supersede_replaced(database, new, holding(("/raw/a.fits", NEW)), now=NOW) == [old]
        with database.session() as session:
            frame = session.get(Frame, frame_id)
        assert (frame.state, frame.reason) == (State.DUPLICATE, "it holds no such detector")

    @pytest.mark.parametrize("asked", [OLD, NEW])
    def test_it_makes_no_two_files_one_frame(self, database, asked):
        ids = {}
        for sha256, detector in ((OLD, "1"), (NEW, "2")):
            headers = [replace(header(), detector=name) for name in (detector, "gone")]
            ids[sha256] = receive(database, "/raw/a.fits", sha256, 10, now=NOW).exposure_id
            record_frames(database, ids[sha256], headers)
            settle_exposure(database, ids[sha256], State.DONE, "", now=NOW)
        self.put_away(database, ids[OLD], "gone")
        assert supersede_replaced(database, ids[asked], holding(), now=NOW) == []
