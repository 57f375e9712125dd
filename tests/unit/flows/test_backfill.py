"""Old nights, in batches."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows.backfill as backfill_module
import flows.batch as batch_module
import flows.masters as masters_module
import tasks.context as context
from flows.backfill import backfill, backfill_name, batches
from flows.batch import BATCH, summarised
from nightflow.pipeline.backfill import Selection


@given(st.lists(st.integers()), st.integers(1, 60))
def test_batches_lose_double_and_reorder_nothing(ids: list[int], size: int) -> None:
    cut = list(batches(ids, size))
    assert [one for batch in cut for one in batch] == ids
    assert all(0 < len(batch) <= size for batch in cut)
    assert all(len(batch) == size for batch in cut[:-1])


def test_a_backfill_with_a_failure_is_red() -> None:
    assert summarised(Counter(done=3, rejected=1)).is_completed()
    assert summarised(Counter(done=3, rejected=1)).message == "3 done, 1 rejected"
    assert summarised(Counter(done=3, failed=1)).is_failed()
    assert summarised(Counter()).message == "nothing to reduce"


@pytest.mark.parametrize("state", ["received", "reducing"])
def test_a_backfill_with_an_exposure_that_is_not_settled_is_red_and_names_it(state: str) -> None:
    ended = summarised(Counter({"done": 3, state: 1}), ["/raw/a.fits (run:dome:7 has it)"])
    assert ended.is_failed()
    for said in (
        f"1 {state}",
        "/raw/a.fits (run:dome:7 has it)",
        "nightflow status",
        "start the backfill again",
    ):
        assert said in str(ended.message)


def test_of_many_some_are_named() -> None:
    message = str(summarised(Counter(received=9), [f"{n}.fits" for n in range(9)]).message)
    assert "4.fits, and 4 more" in message
    assert "5.fits" not in message


def in_batch() -> bool:
    """Whether the tasks called now would use the reducer of batches."""
    return context._in_batch.get()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """120 exposures to be chosen, and what was reduced and shown."""
    seen = SimpleNamespace(
        asked=None, reduced=[], tables={}, sizes=[], cluster="", tried_again=[], number=120, unknown=[]
    )

    async def select(*arguments: Any) -> Selection:
        seen.asked = arguments
        assert in_batch(), "dawn flats would change nothing"
        return Selection(list(range(seen.number)), seen.unknown)

    async def try_again(exposure_ids: list[int]) -> None:
        assert not seen.reduced
        seen.tried_again.extend(exposure_ids)

    async def nights() -> list[str]:
        return ["2026-03-01", "2026-03-02"]

    async def planned(chosen: Selection) -> list[dict[str, Any]]:
        return [{"file": name} for name in (*(f"{one}.fits" for one in chosen.exposures), *chosen.unknown)]

    async def reduce_one(exposure_id: int, *, name_the_run: bool) -> Any:
        assert not name_the_run
        assert in_batch(), "an evening's light would be reduced with the masters of that evening"
        seen.reduced.append(exposure_id)
        return SimpleNamespace(path=f"{exposure_id}.fits", state="done", reason="", seconds=0.1)

    async def table(rows: list[dict[str, Any]], key: str, description: str) -> None:
        seen.tables.setdefault(key, []).append(rows)

    monkeypatch.setattr(backfill_module, "select_backfill", select)
    monkeypatch.setattr(backfill_module, "list_backfill", planned)
    monkeypatch.setattr(backfill_module, "nights_of_ledger", nights)
    monkeypatch.setattr(backfill_module, "try_failed_again", try_again)
    monkeypatch.setattr(backfill_module, "reduce_one", reduce_one)
    monkeypatch.setattr(backfill_module, "cluster", lambda: seen.cluster)
    monkeypatch.setattr(backfill_module, "acreate_table_artifact", table)
    monkeypatch.setattr(batch_module, "acreate_table_artifact", table)
    monkeypatch.setattr(backfill_module, "backfill_batch", backfill_module.backfill_batch.fn)
    return seen


def test_all_that_is_chosen_is_reduced_a_batch_a_run(world: SimpleNamespace) -> None:
    state = asyncio.run(backfill.fn(path="/archive", force=True))
    assert world.asked == (None, None, None, "/archive", None, True, False)
    assert world.reduced == list(range(120))
    assert world.tried_again == list(range(120)), "force takes what failed, too"
    assert [len(rows) for rows in world.tables["backfill-batch"]] == [BATCH, BATCH, 20]
    assert state.message == "120 done"


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (Counter(done=99, held=1), "119 done, 1 held"),
        (Counter(done=99, received=1), "119 done, 1 received; not reduced: 119.fits (nobody"),
    ],
)
@pytest.mark.parametrize(("helpers", "cluster"), [(3, ""), (0, "tcp://10.0.0.5:8786")])
def test_calibrations_are_done_before_others_are_called(
    world: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    helpers: int,
    cluster: str,
    ended: Counter[str],
    said: str,
) -> None:
    world.cluster = cluster

    async def apart(exposure_ids: list[int]) -> tuple[list[int], list[int]]:
        return exposure_ids[:20], exposure_ids[20:]

    async def together(*asked: Any) -> Counter[str]:
        assert in_batch()
        assert world.reduced == list(range(20))
        assert asked == (list(range(20, 120)), helpers, cluster)
        return Counter(ended)

    async def left_open(exposure_ids: list[int]) -> list[str]:
        assert exposure_ids == list(range(20, 120))
        return ["119.fits (nobody has taken it)"] * ended["received"]

    monkeypatch.setattr(backfill_module, "left_open", left_open)
    monkeypatch.setattr(backfill_module, "calibrations_apart", apart)
    monkeypatch.setattr(backfill_module, "reduce_together", together)
    state = asyncio.run(backfill.fn(helpers=helpers))
    assert str(state.message).startswith(said)
    assert state.is_failed() == bool(ended["received"])


def test_masters_are_built_by_the_reducer_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bool, Any, Any]] = []

    async def build(instrument: str | None, night: str | None) -> list[dict[str, Any]]:
        asked.append((in_batch(), instrument, night))
        return [{"kind": "bias", "state": "built"}]

    async def table(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(masters_module, "build_all_masters", build)
    monkeypatch.setattr(masters_module, "acreate_table_artifact", table)
    state = asyncio.run(masters_module.build_masters.fn("tinycam"))
    assert asked == [(True, "tinycam", None)]
    assert state.message == "1 bias built"
    assert not in_batch()


def test_without_force_what_failed_of_deaths_is_left(world: SimpleNamespace) -> None:
    asyncio.run(backfill.fn())
    assert world.tried_again == []


def test_a_dry_run_lists_and_reduces_nothing(world: SimpleNamespace) -> None:
    world.unknown = ["new.fits"]
    state = asyncio.run(backfill.fn(dry_run=True, force=True))
    assert world.asked[-1], "nothing is received"
    assert world.tried_again == []
    assert world.reduced == []
    listed = [row["file"] for row in world.tables["backfill-plan"][0]]
    assert listed == [*(f"{one}.fits" for one in range(120)), "new.fits"]
    assert state.message == (
        "121 exposures would be reduced, 1 of them not yet received; none was, for dry_run is on"
    )
    assert state.name == "Planned"


@pytest.mark.parametrize("dry_run", [True, False])
def test_of_a_night_without_frames_it_is_said_which_there_are(world: SimpleNamespace, dry_run: bool) -> None:
    world.number = 0
    state = asyncio.run(backfill.fn(night=date(2026, 3, 3), dry_run=dry_run))
    assert state.is_completed()
    assert state.message == (
        "no frame of the night 2026-03-03 is in the ledger; it has 2026-03-01, 2026-03-02"
    )
    state = asyncio.run(backfill.fn(night=date(2026, 3, 2)))
    assert state.message == "nothing to reduce", "nothing has changed for its frames"


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({}, "backfill everything"),
        ({"night": "2024-05-12", "dry_run": True}, "plan 2024-05-12"),
        ({"since": "2024-05-01", "until": "2024-05-12"}, "backfill 2024-05-01..2024-05-12"),
        ({"path": "/archive"}, "backfill /archive"),
        ({"night": "2024-05-12", "camera": "nickel"}, "backfill 2024-05-12 nickel"),
    ],
)
def test_the_run_is_named_by_what_was_asked(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], name: str
) -> None:
    monkeypatch.setattr(
        backfill_module, "runtime", SimpleNamespace(flow_run=SimpleNamespace(parameters=asked))
    )
    assert backfill_name() == name
