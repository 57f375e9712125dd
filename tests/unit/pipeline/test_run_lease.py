"""Leases of batches: prolonged while somebody works, free again where nobody does."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from nightflow.errors import RetryLater
from nightflow.pipeline import run_lease
from nightflow.pipeline.run_lease import hand_back, kept, take
from nightflow.store.database import Database
from nightflow.store.leases import lease
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
