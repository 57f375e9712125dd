"""A backfill gives way to the live service of its machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightflow.errors import RetryLater
from nightflow.service import gives_way as gives_way_module
from nightflow.service.gives_way import GivesWay, run_behind
from nightflow.service.leases import worker_name
from nightflow.store.database import Database
from nightflow.store.leases import lease_exposure
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import Priority, State

OWN = worker_name()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as database:
        database.upgrade()
        yield database


class Time:
    """Passes only where somebody sleeps; settles an exposure after a second."""

    def __init__(self, database: Database, in_work: int) -> None:
        self.database = database
        self.in_work = in_work
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= 101.0:
            settle_exposure(self.database, self.in_work, State.DONE, "", now=datetime.now(UTC))

    def waited(self, step: str = "measure") -> float:
        GivesWay(self.database, sleep=self.sleep, clock=lambda: self.now).began(step, 1, 1)
        return self.now - 100.0


def in_work(
    database: Database, worker: str = OWN, priority: int = Priority.LIVE, seconds: float = 600.0
) -> int:
    exposure_id = receive(
        database, "/in/new.fits", "0" * 64, 2880, now=datetime.now(UTC), priority=priority
    ).exposure_id
    assert lease_exposure(database, exposure_id, worker, now=datetime.now(UTC), seconds=seconds) is not None
    return exposure_id


def test_a_step_waits_until_the_new_frame_has_ended(database: Database) -> None:
    assert 1.0 <= Time(database, in_work(database)).waited() < 1.1


@pytest.mark.parametrize("step", ["settle", "conclude"])
def test_an_end_does_not_wait(database: Database, step: str) -> None:
    assert Time(database, in_work(database)).waited(step) == 0.0


def test_nobody_waits_for_ever(database: Database) -> None:
    time = Time(database, in_work(database))
    time.in_work = 99
    assert 2.0 <= time.waited() < 2.1


@pytest.mark.parametrize(
    ("worker", "priority", "seconds"),
    [
        (OWN, Priority.REDO, 600.0),
        (OWN, Priority.BACKFILL, 600.0),
        (OWN, Priority.LIVE, -1.0),
        (f"watch:{socket.gethostname()}-2:7", Priority.LIVE, 600.0),
        (OWN.replace("watch", "run"), Priority.LIVE, 600.0),
    ],
    ids=["a redo", "a backfill", "a lease that has ended", "another machine", "a run"],
)
def test_it_waits_for_nothing_else(database: Database, worker: str, priority: int, seconds: float) -> None:
    assert Time(database, in_work(database, worker, priority, seconds)).waited() == 0.0


def test_it_waits_for_nothing_where_nothing_is_in_work(database: Database) -> None:
    receive(database, "/in/new.fits", "0" * 64, 2880, now=datetime.now(UTC))
    assert Time(database, 1).waited() == 0.0


def test_a_store_that_is_away_is_the_steps_to_tell(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> bool:
        raise RetryLater("the store is locked")

    monkeypatch.setattr(gives_way_module, "is_live_in_work", away)
    assert Time(database, 1).waited() == 0.0


def test_it_is_nicer_than_the_service(niced: list[int]) -> None:
    run_behind()
    assert niced == [15]
