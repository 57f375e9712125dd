"""The queue of a backfill, from which several processes take."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nightflow.pipeline.run_lease import queue_for_backfill, take_queued, try_again, unsettled
from nightflow.pipeline.run_name import run_worker, shown_worker
from nightflow.store.database import Database
from nightflow.store.deaths import count_death
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import Priority, State
from nightflow.store.overview import counts, get_exposure
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
    queue_for_backfill(database, ids, watched=False)
    shares = in_processes(_take_all, [(database.url,), (database.url,)])
    assert sorted(one for share in shares for one in share) == ids
    assert counts(database, ids)[State.REDUCING] == len(ids)


def test_what_is_live_is_left_to_the_service(database: Database) -> None:
    receive(database, "/data/live.fits", sha("live"), 100, priority=Priority.LIVE, now=later(0))
    old = _done(database, "old.fits")
    assert take_queued(database) is None
    queue_for_backfill(database, [old], watched=False)
    assert [take_queued(database), take_queued(database)] == [old, None]


def test_states_of_some(database: Database) -> None:
    first, second = _done(database, "a.fits"), _done(database, "b.fits")
    queue_for_backfill(database, [second], watched=False)
    assert counts(database, [first])[State.DONE] == 1
    assert counts(database, [second]) == counts(database, []) | {State.RECEIVED: 1}


@pytest.mark.parametrize("watched", [True, False])
def test_what_has_just_landed_stays_a_frame_of_the_night(database: Database, watched: bool) -> None:
    """The live service reduces it with the settings of the night; without one the backfill does."""
    landed = receive(database, "/data/live.fits", sha("live"), 100, now=later(0)).exposure_id
    queue_for_backfill(database, [landed], watched=watched)
    assert take_queued(database) == (None if watched else landed)


def test_deaths_that_were_counted_stay_counted(database: Database) -> None:
    killer = _done(database, "killer.fits")
    queue_for_backfill(database, [killer], watched=False)
    assert take_queued(database) == killer
    assert count_death(database, killer, run_worker(), "a share", datetime.now(UTC)) == State.RECEIVED
    queue_for_backfill(database, [killer], watched=False)
    exposure = get_exposure(database, killer)
    assert exposure is not None
    assert exposure.attempts == 1
    assert take_queued(database, wary=True) is None
    assert take_queued(database) == killer


def test_what_is_in_other_hands_stays_there(database: Database) -> None:
    one = _done(database, "one.fits")
    queue_for_backfill(database, [one], watched=False)
    assert take_queued(database) == one
    queue_for_backfill(database, [one], watched=False)
    assert counts(database, [one])[State.REDUCING] == 1


def test_what_failed_is_tried_again_on_request(database: Database) -> None:
    failed, done = _done(database, "failed.fits"), _done(database, "done.fits")
    settle_exposure(database, failed, State.FAILED, "3 workers died of it", now=later(2))
    try_again(database, [failed, done])
    assert [take_queued(database), take_queued(database)] == [failed, None]


def test_what_is_not_settled_is_named_with_who_has_it(database: Database) -> None:
    ids = [_done(database, name) for name in ("held.fits", "waits.fits", "done.fits")]
    queue_for_backfill(database, ids[:2], watched=False)
    assert take_queued(database) == ids[0]
    assert unsettled(database, ids) == [
        f"/data/held.fits ({shown_worker(run_worker())} has it)",
        "/data/waits.fits (nobody has taken it)",
    ]
