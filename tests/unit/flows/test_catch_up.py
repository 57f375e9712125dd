"""What was reduced without the server, listed once it is back."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

import flows.catch_up as catch_up_module
import tasks.catch_up as tasks_module
from flows.catch_up import ROWS, catch_up
from nightflow.service import unshown
from tasks.catch_up import list_missed, tick_off

SINCE, UNTIL = datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 2, 9, tzinfo=UTC)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the ledger has, what was shown of it, and what was ticked off."""
    seen = SimpleNamespace(rows=[], tables=[], ticked=[], fault=None)

    async def list_missed(since: datetime, until: datetime) -> list[dict[str, Any]]:
        assert (since, until) == (SINCE, UNTIL)
        return list(seen.rows)

    async def tick_off(exposure_ids: list[int], run_id: str) -> None:
        seen.ticked += exposure_ids

    async def table(rows: list[dict[str, Any]], key: str, description: str) -> None:
        if seen.fault is not None:
            raise seen.fault
        seen.tables.append((len(rows), key, description))

    monkeypatch.setattr(catch_up_module, "list_missed", list_missed)
    monkeypatch.setattr(catch_up_module, "tick_off", tick_off)
    monkeypatch.setattr(catch_up_module, "acreate_table_artifact", table)
    return seen


def rows(number: int) -> list[dict[str, Any]]:
    return [{"exposure": one, "state": "held" if one == 3 else "done"} for one in range(number)]


def test_a_long_outage_is_listed_in_one_run_by_several_tables(world: SimpleNamespace) -> None:
    world.rows = rows(2 * ROWS + 5)
    state = asyncio.run(catch_up.fn(SINCE, UNTIL))
    assert state.message == f"{2 * ROWS + 4} done, 1 held"
    assert [(number, key) for number, key, _ in world.tables] == [
        (ROWS, "catch-up"),
        (ROWS, "catch-up"),
        (5, "catch-up"),
    ]
    assert world.ticked == list(range(2 * ROWS + 5))


def test_nothing_is_ticked_off_that_was_not_shown(world: SimpleNamespace) -> None:
    world.rows, world.fault = rows(3), RuntimeError("the server is gone")
    with pytest.raises(RuntimeError, match="the server is gone"):
        asyncio.run(catch_up.fn(SINCE, UNTIL))
    assert world.ticked == []


@pytest.mark.parametrize(
    ("name", "ask"),
    [("list_unshown", lambda: list_missed.fn(SINCE, UNTIL)), ("note_shown", lambda: tick_off.fn([1], "run"))],
)
def test_the_end_of_the_service_does_not_wait_for_a_store_that_is_locked(
    monkeypatch: pytest.MonkeyPatch, name: str, ask: Any
) -> None:
    begun, answers = threading.Event(), threading.Event()
    waited_out: list[bool] = []

    def hang(*_: Any) -> None:
        begun.set()
        waited_out.append(answers.wait(20))

    async def stopped() -> None:
        asking = asyncio.create_task(ask())
        while not begun.is_set():
            await asyncio.sleep(0.01)
        asking.cancel()

    monkeypatch.setattr(unshown, name, hang)
    monkeypatch.setattr(tasks_module, "current_reducer", lambda: SimpleNamespace(database=None))
    asyncio.run(stopped())
    assert waited_out == []
    answers.set()
