"""The queue of a backfill, from which several processes take."""

from __future__ import annotations

from nightflow.pipeline.run_lease import queue_for_backfill, take_queued
from nightflow.store.database import Database
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import Priority, State
from nightflow.store.overview import counts
from tests.unit.store.builders import in_processes, later, sha


def _done(database: Database, name: str) -> int:
    exposure_id = receive(database, f"/data/{name}", sha(name), 100, now=later(0)).exposure_id
    settle_exposure(database, exposure_id, State.DONE, "", now=later(1))
    return exposure_id


def _take_all(url: str) -> list[int]:
    with Database(url, busy_seconds=30) as database:
        return list(iter(lambda: take_queued(database), None))


def test_no_two_processes_take_the_same(database: Database) -> None:
    ids = [_done(database, f"{number}.fits") for number in range(40)]
    queue_for_backfill(database, ids)
    shares = in_processes(_take_all, [(database.url,), (database.url,)])
    assert sorted(one for share in shares for one in share) == ids
    assert counts(database, ids)[State.REDUCING] == len(ids)


def test_what_is_live_is_left_to_the_service(database: Database) -> None:
    receive(database, "/data/live.fits", sha("live"), 100, priority=Priority.LIVE, now=later(0))
    old = _done(database, "old.fits")
    assert take_queued(database) is None
    queue_for_backfill(database, [old])
    assert [take_queued(database), take_queued(database)] == [old, None]


def test_states_of_some(database: Database) -> None:
    first, second = _done(database, "a.fits"), _done(database, "b.fits")
    queue_for_backfill(database, [second])
    assert counts(database, [first])[State.DONE] == 1
    assert counts(database, [second]) == counts(database, []) | {State.RECEIVED: 1}
