from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightflow.errors import RetryLater
from nightflow.store.builds import acquire_build, building, release_build
from nightflow.store.database import Database
from tests.unit.store.builders import count, in_processes, later


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def test_one_builder_at_a_time(database: Database) -> None:
    assert acquire_build(database, "flat V", "a", now=later(0), seconds=10)
    assert not acquire_build(database, "flat V", "b", now=later(9), seconds=10)
    assert acquire_build(database, "flat R", "b", now=later(9), seconds=10)
    release_build(database, "flat V", "a")
    assert acquire_build(database, "flat V", "b", now=later(9), seconds=10)


def test_a_builder_may_prolong(database: Database) -> None:
    acquire_build(database, "flat", "a", now=later(0), seconds=10)
    assert acquire_build(database, "flat", "a", now=later(5), seconds=10)
    assert not acquire_build(database, "flat", "b", now=later(12), seconds=10)


def test_what_a_dead_builder_left_is_taken_over(database: Database) -> None:
    acquire_build(database, "flat", "dead", now=later(0), seconds=10)
    assert acquire_build(database, "flat", "b", now=later(10), seconds=10)
    release_build(database, "flat", "dead")
    assert not acquire_build(database, "flat", "c", now=later(11), seconds=10)


def test_the_lock_is_given_back_after_an_error(database: Database) -> None:
    def fail() -> None:
        with building(database, "flat", "a"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert count(database, "master_build") == 0


def test_waiting_ends_with_the_lease_of_a_dead_builder(database: Database) -> None:
    clock = Clock()
    acquire_build(database, "flat", "dead", now=clock(), seconds=5)
    with building(database, "flat", "b", patience=60, clock=clock, sleep=clock.sleep):
        assert clock() >= datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=5)


def test_patience_ends(database: Database) -> None:
    clock = Clock()
    acquire_build(database, "flat", "slow", now=clock(), seconds=1000)
    with (
        pytest.raises(RetryLater, match="flat: another worker is still building it after 3 s"),
        building(database, "flat", "b", patience=3, clock=clock, sleep=clock.sleep),
    ):
        pass


def _build(url: str, folder: str, worker: str) -> bool:
    """Build where nobody has; True where this process did."""
    built = Path(folder) / "master"
    with Database(url) as database, building(database, "flat", worker):
        if built.exists():
            return False
        time.sleep(0.3)
        built.write_text(worker)
        return True


def test_processes_build_a_master_once(database: Database, tmp_path: Path) -> None:
    answers = in_processes(_build, [(database.url, str(tmp_path), f"w{number}") for number in range(3)])
    assert sorted(answers) == [False, False, True]


def test_a_lease_is_prolonged_while_a_long_build_goes_on(database: Database) -> None:
    with building(database, "flat", "a", seconds=0.6):
        time.sleep(1.5)
        assert not acquire_build(database, "flat", "b", now=datetime.now(UTC), seconds=10)
    assert acquire_build(database, "flat", "b", now=datetime.now(UTC), seconds=10)


def _die_while_building(url: str) -> None:
    database = Database(url)
    acquire_build(database, "flat", "dead", now=datetime.now(UTC), seconds=0.5)


def test_a_builder_that_crashed_blocks_no_longer_than_its_lease(database: Database) -> None:
    in_processes(_die_while_building, [(database.url,)])
    with building(database, "flat", "b", patience=30):
        assert count(database, "master_build", "worker = 'b'") == 1


def test_a_lost_lease_is_said(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    with building(database, "flat", "a", seconds=0.3):
        release_build(database, "flat", "a")
        assert acquire_build(database, "flat", "b", now=datetime.now(UTC), seconds=10)
        time.sleep(0.5)
    assert "the lease was lost" in caplog.text
    assert count(database, "master_build", "worker = 'b'") == 1
