"""What follows from exposures that ended as a service died, and what is told while it lives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightflow.errors import RetryLater
from nightflow.service import chores
from nightflow.service.chores import frames_again, messages
from nightflow.store.database import Database

NOW = datetime(2026, 3, 1, 20, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as database:
        database.upgrade()
        yield database


class Following:
    """A reducer that follows up exposures, and what it meets with."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.context = self.settings = None
        self.faults: dict[int, list[Exception]] = {}
        self.followed: list[int] = []

    def follow_up(self, exposure_id: int) -> None:
        if faults := self.faults.get(exposure_id):
            raise faults.pop(0)
        self.followed.append(exposure_id)


@pytest.fixture
def reducer(database: Database) -> Any:
    return Following(database)


def test_what_follows_is_done_once_for_each(reducer: Any) -> None:
    follow_up = frames_again([1, 2, 3], reducer)[0]
    follow_up(NOW)
    follow_up(NOW)
    assert sorted(reducer.followed) == [1, 2, 3]


def test_what_is_left_is_known_under_new_settings(reducer: Any) -> None:
    ended = [1, 2, 3]
    reducer.faults[2] = [RetryLater("locked")]
    with pytest.raises(RetryLater):
        frames_again(ended, reducer)[0](NOW)
    assert reducer.followed == [1]
    frames_again(ended, reducer)[0](NOW)
    assert sorted(reducer.followed) == [1, 2, 3]


def test_an_exposure_at_fault_holds_up_no_other(reducer: Any, caplog: pytest.LogCaptureFixture) -> None:
    reducer.faults[2] = [ValueError("a bug")] * 9
    follow_up = frames_again([1, 2, 3], reducer)[0]
    follow_up(NOW)
    assert sorted(reducer.followed) == [1, 3]
    assert "exposure 2: what follows from its end is left undone" in caplog.text


def test_what_is_put_off_is_done_later(reducer: Any) -> None:
    reducer.faults = {number: [RetryLater("locked")] for number in (1, 3)}
    follow_up = frames_again([1, 2, 3], reducer)[0]
    for _ in range(2):
        with pytest.raises(RetryLater):
            follow_up(NOW)
    follow_up(NOW)
    assert sorted(reducer.followed) == [1, 2, 3]


def test_what_a_dead_run_left_is_queued(
    reducer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Database] = []

    def freed(database: Database, now: datetime) -> Any:
        asked.append(database)
        return SimpleNamespace(queued=[1, 2])

    monkeypatch.setattr(chores, "free_dead_runs", freed)
    with caplog.at_level("INFO"):
        frames_again([], reducer)[1](NOW)
    assert asked == [reducer.database]
    assert "2 exposures were left by a run or backfill that died" in caplog.text


def test_messages_use_the_settings_that_count_now() -> None:
    used: list[object] = []
    looked: list[str] = []
    alarms: Any = SimpleNamespace(use=used.append, look=lambda now: looked.append("alarms"))
    notifier: Any = SimpleNamespace(use=used.append, catch_up=lambda: looked.append("notifier"))
    reducer: Any = SimpleNamespace(settings=SimpleNamespace(notify="where to"))
    for chore in messages(alarms, notifier, reducer):
        chore(NOW)
    assert used == [reducer.settings, "where to"]
    assert looked == ["alarms", "notifier"]
