"""Leases of batches: prolonged while somebody works, free again where nobody does."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from nightflow.errors import RetryLater
from nightflow.pipeline import run_lease
from nightflow.pipeline.run_lease import free_dead_runs, hand_back, kept, take, take_queued
from nightflow.pipeline.run_name import run_worker
from nightflow.store.database import Database
from nightflow.store.deaths import Inherited
from nightflow.store.leases import lease, lease_exposure, renew
from nightflow.store.overview import get_exposure
from tests.unit.pipeline.station import Station, entered, exposure


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(run_lease, "_SECONDS", 1.2)
    return 1.2


def taken_by_another(database: Database) -> bool:
    return lease(database, "another", now=datetime.now(UTC), seconds=60.0) is not None


def test_a_lease_lasts_as_long_as_the_work_and_little_longer(station: Station, short: float) -> None:
    reducer = station.reducer()
    exposure_id = entered(reducer, station.frame("light.fits"))
    assert take(reducer.database, exposure_id)
    with kept(reducer.database, exposure_id):
        until = time.monotonic() + 2 * short
        while time.monotonic() < until:
            assert not taken_by_another(reducer.database)
            time.sleep(0.05)
    time.sleep(1.1 * short)
    assert taken_by_another(reducer.database)


def test_what_another_has_taken_meanwhile_stays_his(station: Station, short: float) -> None:
    reducer = station.reducer()
    exposure_id = entered(reducer, station.frame("light.fits"))
    assert take(reducer.database, exposure_id)
    later = datetime.now(UTC) + timedelta(seconds=10)
    with kept(reducer.database, exposure_id):
        assert lease(reducer.database, "another", now=later, seconds=60.0) is not None
        time.sleep(short)
    assert exposure(reducer, exposure_id).leased_by == "another"
    hand_back(reducer.database, exposure_id)
    assert exposure(reducer, exposure_id).leased_by == "another"


def test_a_store_that_is_away_for_a_moment_costs_no_lease(
    station: Station, short: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reducer = station.reducer()
    exposure_id = entered(reducer, station.frame("light.fits"))
    assert take(reducer.database, exposure_id)
    real, calls = run_lease.renew, []

    def renew(*arguments: object, **options: object) -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise RetryLater("the store is locked")
        return real(*arguments, **options)

    monkeypatch.setattr(run_lease, "renew", renew)
    with kept(reducer.database, exposure_id):
        time.sleep(1.4 * short)
        assert not taken_by_another(reducer.database)
    assert len(calls) >= 2
    assert f"lease of exposure {exposure_id} not prolonged: the store is locked" in caplog.text


ELSEWHERE = "run:elsewhere:1:0123abcd-7"


def in_work(station: Station, worker: str, ended_ago: timedelta) -> tuple[Database, int]:
    """Let a worker have an exposure of a backfill in work whose lease ended a while ago."""
    reducer = station.reducer()
    exposure_id = entered(reducer, station.frame("light.fits"))
    run_lease.queue_for_backfill(reducer.database, [exposure_id], watched=False)
    begun = datetime.now(UTC) - ended_ago - timedelta(seconds=600)
    assert lease_exposure(reducer.database, exposure_id, worker, now=begun, seconds=600) is not None
    return reducer.database, exposure_id


def test_who_lives_here_is_no_death_however_long_the_store_was_away(station: Station) -> None:
    database, exposure_id = in_work(station, run_worker(os.getppid()), timedelta(hours=3))
    now = datetime.now(UTC)
    for minutes in (0, 10):
        assert free_dead_runs(database, now + timedelta(minutes=minutes)) == Inherited([], [])
    found = get_exposure(database, exposure_id)
    assert found is not None
    assert (found.attempts, found.leased_by) == (0, run_worker(os.getppid()))


class TestElsewhere:
    """A lease that has ended, of a machine of which nobody can tell from here whether it is."""

    def test_who_comes_back_to_it_is_left_in_peace(self, station: Station) -> None:
        database, exposure_id = in_work(station, ELSEWHERE, timedelta(minutes=20))
        now = datetime.now(UTC)
        assert free_dead_runs(database, now) == Inherited([], []), "the store was away for all of them"
        assert take_queued(database) is None, "and nobody else reduces it meanwhile"
        assert renew(database, exposure_id, ELSEWHERE, now=now + timedelta(seconds=30), seconds=600)
        assert free_dead_runs(database, now + timedelta(minutes=5)) == Inherited([], [])

    def test_who_does_not_has_died(self, station: Station) -> None:
        database, exposure_id = in_work(station, ELSEWHERE, timedelta(minutes=20))
        now = datetime.now(UTC)
        looks = [free_dead_runs(database, now + timedelta(minutes=minutes)).queued for minutes in (0, 1, 3)]
        assert looks == [[], [], [exposure_id]]

    def test_what_a_process_left_long_ago_is_counted_by_the_next_one_at_once(self, station: Station) -> None:
        """A batch of each night, in a container of its own, that is killed by one frame."""
        database, exposure_id = in_work(station, ELSEWHERE, timedelta(hours=2))
        assert free_dead_runs(database, datetime.now(UTC)).queued == [exposure_id]
