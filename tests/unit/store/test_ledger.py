from __future__ import annotations

import pytest
from sqlalchemy import insert

from nightflow.store.database import Database
from nightflow.store.frames import frames_of, record_frames, settle_frame
from nightflow.store.leases import lease
from nightflow.store.ledger import CONTENT, PLACE, held_for, receive, requeue, settle_exposure
from nightflow.store.models import Exposure, Priority, State
from nightflow.store.overview import get_exposure
from tests.unit.store.builders import START, count, everything, header, in_processes, later, sha


def _receive(database: Database, name: str, content: str = "", **options: int) -> int:
    return receive(database, f"/data/{name}", sha(content or name), 100, now=START, **options).exposure_id


def _state(database: Database, exposure_id: int) -> str:
    exposure = get_exposure(database, exposure_id)
    assert exposure is not None
    return exposure.state


def test_a_new_file_is_received(database: Database) -> None:
    received = receive(database, "/data/a.fits", sha("a"), 2**33, now=START)
    exposure = get_exposure(database, received.exposure_id)
    assert received.is_new
    assert received.state == State.RECEIVED
    assert exposure is not None
    assert (exposure.path, exposure.size, exposure.received_at) == ("/data/a.fits", 2**33, START)


def test_the_same_file_again_changes_nothing(database: Database) -> None:
    first = receive(database, "/data/a.fits", sha("a"), 100, now=START)
    before = everything(database)
    again = receive(database, "/data/a.fits", sha("a"), 100, now=later(60))
    assert (again.exposure_id, again.is_new) == (first.exposure_id, False)
    assert everything(database) == before


def test_the_same_content_elsewhere_is_a_duplicate_that_names_the_first(database: Database) -> None:
    first = receive(database, "/data/a.fits", sha("a"), 100, now=START)
    copy = receive(database, "/data/copy.fits", sha("a"), 100, now=START)
    again = receive(database, "/data/copy.fits", sha("a"), 100, now=later(1))
    row = get_exposure(database, copy.exposure_id)
    assert copy.state == State.DUPLICATE
    assert copy.is_new
    assert row is not None
    assert row.reason == f"same content as /data/a.fits (exposure {first.exposure_id})"
    assert (again.exposure_id, again.state, again.is_new) == (copy.exposure_id, State.DUPLICATE, False)


def test_new_content_at_a_known_path_is_a_new_exposure(database: Database) -> None:
    first = _receive(database, "a.fits", "content 1")
    second = receive(database, "/data/a.fits", sha("content 2"), 100, now=START)
    assert second.is_new
    assert second.state == State.RECEIVED
    assert second.exposure_id != first


@pytest.mark.parametrize(
    "path",
    ["/data/'; DROP TABLE exposure; --", "/data/nul\x00name", "/data/latin-\udce9.fits", "/d/" + "ä" * 9000],
)
def test_hostile_paths_are_text(database: Database, path: str) -> None:
    first = receive(database, path, sha("a"), 1, now=START)
    assert not receive(database, path, sha("a"), 1, now=START).is_new
    assert first.state == State.RECEIVED


def test_content_that_was_overwritten_and_is_seen_again_is_taken_up(database: Database) -> None:
    exposure_id = _receive(database, "a.fits")
    settle_exposure(database, exposure_id, State.REJECTED, "another one now", waits_for=CONTENT, now=START)
    again = receive(database, "/data/a.fits", sha("a.fits"), 100, now=later(9))
    row = get_exposure(database, exposure_id)
    assert (again.exposure_id, again.state, again.is_new) == (exposure_id, State.RECEIVED, True)
    assert row is not None
    assert (row.reason, row.waits_for, row.done_at, row.queued_at) == ("", "", None, later(9))


def test_what_was_retired_is_taken_up_where_it_takes_the_place_of_another_again(database: Database) -> None:
    old, new = _receive(database, "a.fits", "x"), _receive(database, "a.fits", "y")
    settle_exposure(database, old, State.REJECTED, "the file was replaced", waits_for=PLACE, now=START)
    settle_exposure(database, new, State.DONE, "", now=START)
    assert not receive(database, "/data/a.fits", sha("y"), 100, now=later(1)).is_new
    back = receive(database, "/data/a.fits", sha("x"), 100, now=later(2))
    assert (back.exposure_id, back.state, back.is_new) == (old, State.RECEIVED, True)
    assert _state(database, new) == State.DONE


def test_a_rejected_file_that_is_seen_again_stays_rejected(database: Database) -> None:
    exposure_id = _receive(database, "a.fits")
    settle_exposure(database, exposure_id, State.REJECTED, "corrupt", now=START)
    assert not receive(database, "/data/a.fits", sha("a.fits"), 100, now=later(9)).is_new
    assert _state(database, exposure_id) == State.REJECTED


def _receive_in_process(url: str, path: str) -> tuple[str, bool]:
    with Database(url) as database:
        received = receive(database, path, sha("same"), 1, now=START)
        return str(received.state), received.is_new


def test_processes_that_deliver_the_same_content_at_once(database: Database) -> None:
    answers = in_processes(_receive_in_process, [(database.url, f"/data/{i % 2}.fits") for i in range(4)])
    assert sorted(answers) == [
        ("duplicate", False),
        ("duplicate", True),
        ("received", False),
        ("received", True),
    ]


def test_settling_writes_state_reason_and_frees_the_lease(database: Database) -> None:
    exposure_id = _receive(database, "a.fits")
    lease(database, "w", now=START, seconds=60)
    settle_exposure(
        database, exposure_id, State.HELD, "no flat", waits_for="flat", now=later(5), plan_fingerprint="p"
    )
    row = get_exposure(database, exposure_id)
    assert row is not None
    assert (row.state, row.reason, row.waits_for, row.done_at) == ("held", "no flat", "flat", later(5))
    assert (row.leased_by, row.lease_until, row.plan_fingerprint) == (None, None, "p")


def test_a_worker_that_lost_its_lease_settles_nothing(database: Database) -> None:
    exposure_id = _receive(database, "a.fits")
    lease(database, "slow", now=START, seconds=10)
    lease(database, "quick", now=later(20), seconds=10)
    assert not settle_exposure(database, exposure_id, State.DONE, "", now=later(21), worker="slow")
    assert _state(database, exposure_id) == State.REDUCING
    assert settle_exposure(database, exposure_id, State.DONE, "", now=later(22), worker="quick")


def test_requeue_by_state_instrument_and_what_is_waited_for(database: Database) -> None:
    ids = [_receive(database, f"{number}.fits") for number in range(4)]
    for exposure_id, camera in zip(ids[:3], ("one", "one", "two"), strict=True):
        record_frames(database, exposure_id, [header(instrument=camera)])
    for exposure_id, needed in zip(ids, ("flat", "dark", "flat", "flat"), strict=True):
        settle_exposure(database, exposure_id, State.HELD, "waits", waits_for=needed, now=START)
    assert held_for(database, "flat") == [ids[0], ids[2], ids[3]]
    assert held_for(database, "flat", "one") == [ids[0]]
    assert requeue(database, waits_for="flat", instrument="one", states=[State.HELD], now=later(1)) == [
        ids[0]
    ]
    assert requeue(database, [ids[1]], states=[State.FAILED], now=later(1)) == []
    assert [_state(database, one) for one in ids] == ["received", "held", "held", "held"]


def test_requeue_starts_afresh(database: Database) -> None:
    exposure_id = _receive(database, "a.fits")
    frame_id = record_frames(database, exposure_id, [header()])[0]
    settle_frame(database, frame_id, State.FAILED, "KeyError", traceback="Traceback")
    settle_exposure(database, exposure_id, State.FAILED, "KeyError", now=START)
    assert requeue(database, [exposure_id], priority=Priority.BACKFILL, now=later(1)) == [exposure_id]
    row, frame = get_exposure(database, exposure_id), frames_of(database, exposure_id)[0]
    assert row is not None
    assert (row.state, row.reason, row.attempts, row.done_at) == ("received", "", 0, None)
    assert row.priority == Priority.BACKFILL
    assert (frame.state, frame.reason, frame.traceback) == ("received", "", "")


def test_requeue_leaves_duplicates_and_what_a_worker_holds(database: Database) -> None:
    _receive(database, "a.fits", "same")
    _receive(database, "b.fits", "same")
    lease(database, "w", now=START, seconds=60)
    assert requeue(database, now=later(1)) == []
    assert requeue(database, now=later(61)) == [1]
    assert count(database, "exposure", "state = 'duplicate'") == 1


def test_requeue_of_more_than_a_statement_takes(database: Database) -> None:
    row = {"size": 1, "state": "failed", "received_at": START}
    with database.write() as session:
        session.connection().execute(
            insert(Exposure),
            [row | {"path": f"/{number}", "sha256": sha(str(number))} for number in range(2500)],
        )
    assert len(requeue(database, states=[State.FAILED], now=later(1))) == 2500
    assert count(database, "exposure", "state = 'received'") == 2500


def test_more_are_put_back_than_one_statement_can_name(database):
    exposure_id = receive(database, "/raw/a.fits", "a" * 64, 10, now=START).exposure_id
    settle_exposure(database, exposure_id, State.HELD, "no WCS", waits_for="wcs", now=START)
    named = range(exposure_id, exposure_id + 300_000)
    assert requeue(database, named, states=[State.HELD], waits_for="wcs", now=START) == [exposure_id]
    assert get_exposure(database, exposure_id).state == State.RECEIVED
