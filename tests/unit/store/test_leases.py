from __future__ import annotations

import pytest

from nightflow.store.database import Database
from nightflow.store.deaths import count_service_death
from nightflow.store.frames import settle_frame
from nightflow.store.leases import SUSPECT_AFTER, LeaseLost, lease, lease_exposure, release, renew
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import Priority, State
from nightflow.store.overview import get_exposure
from nightflow.store.writer import append
from tests.unit.store.builders import (
    START,
    add_frame,
    columns,
    everything,
    in_processes,
    later,
    record,
    sha,
    stars,
)


def _receive(database: Database, name: str, priority: int = Priority.LIVE, after: float = 0.0) -> int:
    return receive(database, f"/data/{name}", sha(name), 100, priority=priority, now=later(after)).exposure_id


def _take(database: Database, worker: str = "w", at: float = 100.0, seconds: float = 60.0) -> int | None:
    exposure = lease(database, worker, now=later(at), seconds=seconds)
    return None if exposure is None else exposure.id


def test_by_priority_then_by_age(database: Database) -> None:
    backfill = _receive(database, "backfill", Priority.BACKFILL, 0)
    younger = _receive(database, "younger", Priority.LIVE, 2)
    older = _receive(database, "older", Priority.LIVE, 1)
    redo = _receive(database, "redo", Priority.REDO, 0)
    assert [_take(database) for _ in range(5)] == [older, younger, redo, backfill, None]


def test_a_lease_says_who_and_until_when(database: Database) -> None:
    exposure_id = _receive(database, "a")
    exposure = lease(database, "worker-7", now=later(10), seconds=30)
    stored = get_exposure(database, exposure_id)
    assert exposure is not None
    assert stored is not None
    assert (stored.state, stored.leased_by, stored.lease_until) == ("reducing", "worker-7", later(40))
    assert exposure.path == "/data/a"


def test_an_ended_lease_is_taken_back_without_counting_an_attempt(database: Database) -> None:
    exposure_id = _receive(database, "a")
    assert _take(database, "dead", at=0, seconds=10) == exposure_id
    assert _take(database, "next", at=9.9) is None
    assert _take(database, "next", at=10) == exposure_id
    stored = get_exposure(database, exposure_id)
    assert stored is not None
    assert (stored.leased_by, stored.attempts) == ("next", 0)


def test_what_the_worker_has_in_work_is_left_out(database: Database) -> None:
    mine, other = _receive(database, "mine"), _receive(database, "other", after=1)
    assert _take(database, at=0, seconds=10) == mine
    taken = lease(database, "w", now=later(20), seconds=10, but={mine})
    assert taken is not None
    assert taken.id == other
    assert lease(database, "w", now=later(21), seconds=10, but={mine, other}) is None


def test_a_suspect_comes_last_and_not_where_it_may_not(database: Database) -> None:
    suspect, backfill = _receive(database, "suspect"), _receive(database, "backfill", Priority.BACKFILL)
    for _ in range(SUSPECT_AFTER):
        assert lease_exposure(database, suspect, "w", now=START, seconds=60) is not None
        assert count_service_death(database, suspect, "w", START) == State.RECEIVED
    assert _take(database) == backfill
    assert lease(database, "w", now=later(0), seconds=60, suspects=False) is None
    assert _take(database) == suspect


def test_not_before_it_is_to_be_tried_again(database: Database) -> None:
    held, received = _receive(database, "held"), _receive(database, "received")
    settle_exposure(database, held, State.HELD, "service away", retry_at=later(50), now=START)
    settle_exposure(database, received, State.RECEIVED, "database locked", retry_at=later(60), now=START)
    assert _take(database, at=49) is None
    assert _take(database, at=55) == held
    assert _take(database, at=60) == received


def test_held_without_a_time_waits_for_somebody(database: Database) -> None:
    exposure_id = _receive(database, "a")
    settle_exposure(database, exposure_id, State.HELD, "no flat", waits_for="flat", now=START)
    assert _take(database, at=1e6) is None
    assert lease_exposure(database, exposure_id, "w", now=START, seconds=1) is not None


def test_settled_exposures_are_not_taken(database: Database) -> None:
    for state in (State.DONE, State.REJECTED, State.FAILED):
        exposure_id = _receive(database, state)
        settle_exposure(database, exposure_id, state, "", now=START)
        assert lease_exposure(database, exposure_id, "w", now=START, seconds=1) is None
    assert _take(database) is None


def test_one_exposure_by_name(database: Database) -> None:
    _receive(database, "first")
    second = _receive(database, "second")
    assert lease_exposure(database, second, "w", now=START, seconds=10) is not None
    assert lease_exposure(database, second, "w", now=later(1), seconds=10) is not None
    assert lease_exposure(database, second, "other", now=later(2), seconds=10) is None
    assert lease_exposure(database, second, "other", now=later(11), seconds=10) is not None


def test_renewing_prolongs_ones_own_lease_only(database: Database) -> None:
    exposure_id = _receive(database, "a")
    _take(database, "w", at=0, seconds=10)
    assert renew(database, exposure_id, "w", now=later(9), seconds=10)
    assert not renew(database, exposure_id, "thief", now=later(9), seconds=100)
    assert _take(database, "next", at=18) is None
    assert _take(database, "next", at=19) == exposure_id
    assert not renew(database, exposure_id, "w", now=later(20), seconds=10)


def test_releasing_hands_it_back(database: Database) -> None:
    exposure_id = _receive(database, "a")
    assert not release(database, exposure_id)
    _take(database, "w")
    assert not release(database, exposure_id, "other")
    assert release(database, exposure_id, "w")
    assert _take(database, "next") == exposure_id


def _take_all(url: str, worker: str) -> list[int]:
    with Database(url) as database:
        taken: list[int] = []
        while (exposure := lease(database, worker, now=later(100), seconds=600)) is not None:
            assert exposure.id is not None
            taken.append(exposure.id)
        return taken


def test_processes_that_race_get_each_exposure_once(database: Database) -> None:
    ids = [_receive(database, f"{number}") for number in range(60)]
    taken = in_processes(_take_all, [(database.url, f"worker-{number}") for number in range(3)])
    assert sorted(one for part in taken for one in part) == ids


def test_what_a_batch_queued_is_left_to_it_as_long_as_one_is_at_work(database: Database) -> None:
    def take(at: float) -> int | None:
        taken = lease(database, "watch:a:1", now=later(at), seconds=60.0, leave_batches=True)
        return None if taken is None else taken.id

    first, second = (_receive(database, name, Priority.BACKFILL) for name in ("first", "second"))
    live, redo = _receive(database, "live"), _receive(database, "redo", Priority.REDO)
    begun, until = 100.0, 1000.0
    assert (take(begun), take(begun), take(begun)) == (live, redo, None), "it lists its files"
    batch = lease_exposure(database, first, "run:a:2", now=later(begun), seconds=until - begun)
    assert batch is not None
    for one in (live, redo):
        settle_exposure(database, one, State.DONE, "", now=later(begun))
    assert take(until - 1.0) is None, "it is at work"
    assert {take(until + 1.0), take(until + 2.0)} == {first, second}, "it is gone"


def test_who_has_lost_the_lease_writes_nothing(database: Database) -> None:
    frame_id = add_frame(database)
    assert lease_exposure(database, 1, "first", now=later(0), seconds=10) is not None
    assert append(
        database, frame_id, record("plan-1"), columns(*stars(3)), now=later(1), worker="first"
    ).changed
    assert lease_exposure(database, 1, "second", now=later(20), seconds=10) is not None
    before = everything(database)
    with pytest.raises(LeaseLost):
        append(database, frame_id, record("plan-2"), columns(*stars(3)), now=later(21), worker="first")
    with pytest.raises(LeaseLost):
        settle_frame(database, frame_id, State.FAILED, "a bug", worker="first")
    assert everything(database) == before
    settle_frame(database, frame_id, State.DONE, "", worker="second")
    settle_exposure(database, 1, State.DONE, "", now=later(22), worker="second")
    with pytest.raises(LeaseLost):
        settle_frame(database, frame_id, State.FAILED, "a bug", worker="second")
