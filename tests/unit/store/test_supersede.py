from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlmodel import col, select

from nightflow.store.copies import move
from nightflow.store.frames import record_frames
from nightflow.store.leases import lease_exposure
from nightflow.store.ledger import PLACE, receive, requeue, settle_exposure
from nightflow.store.models import Reduction, Source, State
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
