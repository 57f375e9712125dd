"""A night that ends by itself."""

from __future__ import annotations

import asyncio
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

import flows.end_of_night as module
import tasks.context as context
from flows.end_of_night import end_of_night
from nightflow.pipeline.night_end import LAST_DAYS


def night(*, failed: int = 0) -> Any:
    outcomes = [SimpleNamespace(state="failed", path=f"{number}.fits") for number in range(failed)]
    return SimpleNamespace(
        night="2026-03-01",
        rows=({"path": "a.fits", "verdict": "pass"}, {"path": "b.fits", "verdict": "fail", "why": "clouds"}),
        run=SimpleNamespace(outcomes=[*outcomes, SimpleNamespace(state="done", path="z.fits")]),
        sources=SimpleNamespace(n_sources=12, n_movers=1),
    )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the flow sees, and what it did."""
    seen = SimpleNamespace(
        nights=[(["2026-03-01"], "")], finished=night(), concluded=[], slept=0.0, tables=[]
    )

    async def which() -> tuple[list[str], str]:
        return seen.nights.pop(0) if len(seen.nights) > 1 else seen.nights[0]

    async def conclude(asked: str) -> Any:
        assert context._in_batch.get(), "the masters of the evening would be used"
        seen.concluded.append(asked)
        return seen.finished

    async def sleep(seconds: float) -> None:
        seen.slept += seconds

    async def table(rows: list[dict[str, Any]], key: str, description: str) -> None:
        seen.tables.append(rows)

    monkeypatch.setattr(module, "which_nights", which)
    monkeypatch.setattr(module, "conclude_night", conclude)
    monkeypatch.setattr(module, "acreate_table_artifact", table)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    return seen


def test_the_night_is_concluded_and_shown(world: SimpleNamespace) -> None:
    state = asyncio.run(end_of_night.fn())
    assert world.concluded == ["2026-03-01"]
    assert state.is_completed()
    assert state.message == "night 2026-03-01: 1 of 2 frames pass, 12 sources, 1 bodies move"
    assert [row["verdict"] for row in world.tables[0]] == ["pass", "fail"]


def test_it_waits_for_the_last_frames(world: SimpleNamespace) -> None:
    world.nights = [([], "3 exposures wait"), ([], "1 exposures wait"), (["2026-03-01"], "")]
    assert asyncio.run(end_of_night.fn(patience_minutes=10.0)).is_completed()
    assert world.slept == 120.0
    assert world.concluded == ["2026-03-01"]


def test_where_patience_ends_older_nights_are_concluded_and_it_is_red(world: SimpleNamespace) -> None:
    world.nights = [(["2026-02-27", "2026-02-28"], "1 exposures of 2026-03-01 wait")]
    state = asyncio.run(end_of_night.fn(patience_minutes=10.0))
    assert world.slept == 600.0
    assert world.concluded == ["2026-02-27", "2026-02-28"]
    assert state.is_failed()
    assert state.message.endswith("1 exposures of 2026-03-01 wait")


def test_with_nothing_to_conclude_it_says_so(world: SimpleNamespace) -> None:
    world.nights = [([], "")]
    state = asyncio.run(end_of_night.fn())
    assert state.is_completed()
    assert state.message.startswith(
        f"no night of the last {LAST_DAYS} days has frames that are not concluded"
    )
    assert "-p night=" in state.message


def test_a_night_that_is_named_is_concluded_whatever_waits(world: SimpleNamespace) -> None:
    world.nights = [([], "goes on")]
    asyncio.run(end_of_night.fn(night=date(2026, 2, 20)))
    assert world.concluded == ["2026-02-20"]
    world.finished = None
    assert "no frame" in asyncio.run(end_of_night.fn(night=date(2026, 2, 20))).message


def test_a_frame_that_failed_makes_it_red(world: SimpleNamespace) -> None:
    world.finished = night(failed=1)
    state = asyncio.run(end_of_night.fn())
    assert state.is_failed()
    assert "failed: 0.fits" in state.message
