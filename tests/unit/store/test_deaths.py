"""Deaths are counted on what was in work: it is tried again, last, and has failed in the end."""

from __future__ import annotations

import pytest

from nightflow.store.database import Database
from nightflow.store.deaths import ATTEMPTS, count_death, count_service_death, is_given_up
from nightflow.store.frames import frames_of
from nightflow.store.leases import lease, lease_exposure, renew
from nightflow.store.ledger import receive, requeue
from nightflow.store.models import Exposure, Priority, State
from nightflow.store.overview import get_exposure
from tests.unit.store.builders import add_frame, later, sha


def _queued(database: Database, name: str, after: float) -> int:
    received = receive(
        database, f"/data/{name}", sha(name), 100, priority=Priority.BACKFILL, now=later(after)
    )
    return received.exposure_id


def _get(database: Database, exposure_id: int) -> Exposure:
    found = get_exposure(database, exposure_id)
    assert found is not None
    return found


def _dies(database: Database, exposure_id: int, at: float) -> State | None:
    assert lease_exposure(database, exposure_id, "run:a:1", now=later(at), seconds=60) is not None
    return count_death(database, exposure_id, "run:a:1", "measure, after 3 s", later(at))


def test_what_kills_comes_last_and_not_next(database: Database) -> None:
    killer, second, third = (_queued(database, name, after) for after, name in enumerate("abc"))
    assert _dies(database, killer, at=10) == State.RECEIVED
    taken = [lease(database, "w", now=later(20), seconds=60) for _ in range(3)]
    assert [one.id for one in taken if one is not None] == [second, third, killer]
    assert "attempt 1 of 3: measure, after 3 s" in _get(database, killer).reason


def test_who_is_wary_does_not_take_it(database: Database) -> None:
    killer = _queued(database, "killer", 0)
    assert _dies(database, killer, at=10) == State.RECEIVED
    assert lease(database, "w", now=later(20), seconds=60, attempts_below=1) is None
    assert lease(database, "w", now=later(20), seconds=60, attempts_below=2) is not None


def test_with_the_third_it_has_failed_and_so_have_its_frames(database: Database) -> None:
    frame_id = add_frame(database, "killer")
    (exposure_id,) = {frame.exposure_id for frame in frames_of(database, 1)}
    ends = [_dies(database, exposure_id, at=10.0 * n) for n in range(1, ATTEMPTS + 1)]
    assert ends == [State.RECEIVED, State.RECEIVED, State.FAILED]
    found = _get(database, exposure_id)
    assert is_given_up(found)
    assert (found.attempts, found.leased_by, found.done_at) == (ATTEMPTS, None, later(30))
    (frame,) = frames_of(database, exposure_id)
    assert (frame.id, frame.state, frame.reason) == (frame_id, State.FAILED, found.reason)
    assert "nightflow retry" in found.reason


def test_a_lease_that_was_prolonged_meanwhile_is_of_the_living(database: Database) -> None:
    """It was seen ended, by somebody who is slow to say so."""
    slow = _queued(database, "slow", 0)
    assert lease_exposure(database, slow, "run:a:1", now=later(0), seconds=60) is not None
    assert renew(database, slow, "run:a:1", now=later(70), seconds=60)
    assert count_death(database, slow, "run:a:1", "a share", later(71), until=later(60)) is None
    assert _get(database, slow).attempts == 0
    assert count_death(database, slow, "run:a:1", "a share", later(190), until=later(130)) == State.RECEIVED


def test_the_death_of_a_service_is_not_counted_on_its_successor(database: Database) -> None:
    """Whoever read who had it was slow: another has it in work by then."""
    taken = _queued(database, "taken", 0)
    assert lease_exposure(database, taken, "run:b:2", now=later(0), seconds=60) is not None
    assert count_service_death(database, taken, "watch:a:1", later(1)) is None
    assert (_get(database, taken).service_deaths, _get(database, taken).leased_by) == (0, "run:b:2")


@pytest.mark.parametrize("since", ["another", "again", "nobody"])
def test_who_does_not_hold_it_changes_nothing(database: Database, since: str) -> None:
    """Two that count one death, and a retry in between: the frames that it reduces anew are not failed."""
    add_frame(database, "killer")
    for at in (10, 20):
        assert _dies(database, 1, at) == State.RECEIVED
    assert _dies(database, 1, 30) == State.FAILED
    assert requeue(database, [1], now=later(40)) == [1]
    if since != "nobody":
        worker = "run:b:2" if since == "another" else "run:a:2"
        assert lease_exposure(database, 1, worker, now=later(50), seconds=60) is not None
    before = _get(database, 1).model_dump()
    assert count_death(database, 1, "run:a:1", "measure", later(60)) is None
    assert _get(database, 1).model_dump() == before
    assert [frame.state for frame in frames_of(database, 1)] == [State.RECEIVED]
