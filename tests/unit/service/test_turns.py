"""Nights on a clock of straw: live frames are not late, and nothing waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from nightflow.service.turns import PATIENCE, Turns
from nightflow.store.database import Database
from nightflow.store.leases import lease
from nightflow.store.ledger import receive, requeue, settle_exposure
from nightflow.store.models import Priority, State
from nightflow.store.overview import get_exposure
from tests.unit.store.builders import START, sha

MINUTE = 60.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as database:
        database.upgrade()
        yield database


@dataclass
class Night:
    """One worker, and the clock that its work moves on [s]."""

    database: Database
    now: float = 0.0
    taken: list[tuple[float, int]] = field(default_factory=list)
    """When which exposure was begun."""

    def __post_init__(self) -> None:
        self.turns = Turns(lambda: self.now)

    def receive(self, number: int, priority: int) -> list[int]:
        known = len(self.taken) + self.now
        return [
            receive(
                self.database, f"/{priority}/{self.now}/{i}", sha(f"{priority} {known} {i}"), 1,
                priority=priority, now=START + timedelta(seconds=self.now),
            ).exposure_id
            for i in range(number)
        ]  # fmt: skip

    def work(self, seconds: float) -> int | None:
        """Reduce the next exposure, which takes so long; wait a second where there is none."""
        now = START + timedelta(seconds=self.now)
        exposure = lease(self.database, "w", now=now, seconds=1e6, patient=self.turns.patient(now))
        if exposure is None or exposure.id is None:
            self.now += 1.0
            return None
        self.turns.taken(exposure)
        self.taken.append((self.now, exposure.id))
        self.now += seconds
        settle_exposure(self.database, exposure.id, State.DONE, "", now=now)
        return exposure.id


def test_a_live_frame_finds_at_most_the_one_in_work_before_it(database: Database) -> None:
    """One in ten seconds, eight for each, and a backfill that has grown old and would fill the night."""
    night = Night(database)
    backfill = set(night.receive(60, Priority.BACKFILL))
    night.now = 3600.0
    night.turns = Turns(lambda: night.now)
    began, live, waits = night.now, 0, []
    while night.now < began + 5 * MINUTE:
        while began + 10 * live <= night.now:
            landed = began + 10 * live
            at, night.now = night.now, landed
            night.receive(1, Priority.LIVE)
            night.now, live = at, live + 1
        night.work(8.0)
    for begun, one in night.taken:
        exposure = get_exposure(database, one)
        assert exposure is not None
        if exposure.priority == Priority.LIVE:
            waits.append(begun - (exposure.received_at - START).total_seconds())
    assert len(waits) >= 25
    assert max(waits) <= 8.0, "behind the one in work and no other"
    assert len([one for _, one in night.taken if one in backfill]) >= 5, "in the gaps"


def test_where_live_frames_leave_no_gap_one_of_a_backfill_is_let_in_now_and_then(database: Database) -> None:
    night = Night(database)
    backfill = set(night.receive(3, Priority.BACKFILL))
    night.receive(80, Priority.LIVE)
    for _ in range(75):
        night.work(0.4 * MINUTE)
    let_in = [begun for begun, one in night.taken if one in backfill]
    assert len(let_in) == 2
    patience = PATIENCE.total_seconds()
    assert patience <= let_in[0] <= patience + MINUTE
    assert patience <= let_in[1] - let_in[0] <= patience + MINUTE


def test_a_backfill_is_not_starved_by_what_is_done_again(database: Database) -> None:
    night = Night(database)
    [old] = night.receive(1, Priority.BACKFILL)
    for _ in range(40):
        night.receive(1, Priority.REDO)
        if night.work(MINUTE) == old:
            break
    assert 10 * MINUTE <= night.taken[-1][0] <= 21 * MINUTE
    assert night.taken[-1][1] == old


def test_a_redo_comes_first_where_both_are_young(database: Database) -> None:
    night = Night(database)
    [backfill] = night.receive(1, Priority.BACKFILL)
    night.now += 4 * MINUTE
    [redo] = night.receive(1, Priority.REDO)
    assert [night.work(1), night.work(1)] == [redo, backfill]


def test_an_old_exposure_that_is_queued_again_is_young(database: Database) -> None:
    """A backfill of last year's frames does not go before what was queued this minute."""
    night = Night(database)
    [old] = night.receive(1, Priority.LIVE)
    assert night.work(1) == old
    night.now = 1e6
    [redo] = night.receive(1, Priority.REDO)
    requeue(database, [old], priority=Priority.BACKFILL, now=START + timedelta(seconds=night.now))
    assert [night.work(1), night.work(1)] == [redo, old]


def test_what_is_let_in_has_waited_itself(database: Database) -> None:
    night = Night(database)
    night.receive(3, Priority.LIVE)
    night.now = 2 * PATIENCE.total_seconds()
    [young] = night.receive(1, Priority.BACKFILL)
    assert young not in [night.work(1) for _ in range(3)]
    assert night.work(1) == young
