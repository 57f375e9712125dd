"""A backfill of which several workers take their share: those of the pool, those of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import flows.batch as batch_module
import flows.share as share_module
import flows.together as together_module
import tasks.context as context
from flows.batch import BATCH
from flows.share import share
from flows.together import SHARE, reduce_together
from nightflow.store.models import State

N = 70
N_ELSEWHERE = 20
"""Exposures that a helper takes, and has not done when this process is through with its own."""


class Ledger:
    """A queue, what a helper has of it, and how each exposure ended."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.elsewhere: list[int] = []
        self.done: list[int] = []
        self.helpers = 0
        self.killers: set[int] = set()
        self.wary: set[bool] = set()
        self.given_back: list[int] = []

    async def queue(self, exposure_ids: Sequence[int]) -> None:
        self.waiting = list(exposure_ids)

    async def call(self, name: str, flow_run_name: str, timeout: float) -> None:
        assert (name, flow_run_name, timeout) == (SHARE, "share 1 of 1 helpers", 0)
        assert self.waiting, "a helper that finds nothing goes home"
        self.helpers += 1
        self.elsewhere, self.waiting = self.waiting[:N_ELSEWHERE], self.waiting[N_ELSEWHERE:]

    async def take(self, *, wary: bool) -> int | None:
        self.wary.add(wary)
        ready = [one for one in self.waiting if not (wary and one in self.killers)]
        if not ready:
            return None
        self.waiting.remove(ready[0])
        return ready[0]

    async def reduce(self, exposure_id: int, *, name_the_run: bool) -> Any:
        assert not name_the_run
        self.done.append(exposure_id)
        return SimpleNamespace(path=f"/raw/{exposure_id}.fits", state="done", reason="", seconds=0.1)

    async def states(self, exposure_ids: Sequence[int]) -> dict[State, int]:
        states = {
            State.RECEIVED: len(self.waiting),
            State.REDUCING: len(self.elsewhere),
            State.DONE: len(self.done),
        }
        if self.elsewhere:
            self.done.append(self.elsewhere.pop())
        return states


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    made = Ledger()

    async def table(rows: list[dict[str, Any]], key: str, description: str) -> None:
        assert len(rows) <= BATCH
        assert "/" not in rows[0]["file"]

    monkeypatch.setattr(together_module, "queue", made.queue)
    monkeypatch.setattr(together_module, "arun_deployment", made.call)
    monkeypatch.setattr(share_module, "next_queued", made.take)
    monkeypatch.setattr(share_module, "reduce_one", made.reduce)
    monkeypatch.setattr(share_module, "give_back", made.given_back.append)
    monkeypatch.setattr(together_module, "states_of", made.states)
    monkeypatch.setattr(share_module, "share_batch", share_module.share_batch.fn)
    monkeypatch.setattr(together_module, "LOOKED_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(batch_module, "acreate_table_artifact", table)
    return made


def test_what_others_have_in_hand_is_waited_for(ledger: Ledger) -> None:
    ended = asyncio.run(reduce_together(range(N), helpers=1))
    assert ended == {"done": N}
    assert sorted(ledger.done) == list(range(N))
    assert ledger.helpers == 1


def test_a_helper_that_cannot_be_called_is_done_without(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(name: str, **_: Any) -> None:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(together_module, "arun_deployment", away)
    assert asyncio.run(reduce_together(range(N), helpers=2)) == {"done": N}
    assert ledger.done == list(range(N))


def test_others_that_went_away_are_not_waited_for_without_end(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck(exposure_ids: Sequence[int]) -> dict[State, int]:
        return {State.DONE: N - 1, State.REDUCING: 1}

    monkeypatch.setattr(together_module, "states_of", stuck)
    monkeypatch.setattr(together_module, "PATIENCE_SECONDS", 0.0)
    assert asyncio.run(reduce_together(range(N), helpers=0)) == {"done": N - 1, "reducing": 1}


def test_a_share_ends_with_the_queue_and_is_a_batch(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.waiting = list(range(N))
    in_batch: list[bool] = []
    monkeypatch.setattr(
        share_module,
        "reduce_one",
        lambda one, **kwargs: (in_batch.append(context._in_batch.get()), ledger.reduce(one, **kwargs))[1],
    )
    ledger.killers = {3}
    state = asyncio.run(share.fn())
    assert state.message == f"{N} done"
    assert sorted(ledger.done) == list(range(N)), "what somebody died of, too"
    assert all(in_batch), "an evening's light would be reduced with the masters of that evening"


@pytest.mark.parametrize(("helpers", "left"), [(1, 1), (0, 0)])
def test_what_somebody_died_of_is_left_to_others_where_there_are_any(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, helpers: int, left: int
) -> None:
    """With the process of the backfill all of it would end."""
    monkeypatch.setattr(together_module, "PATIENCE_SECONDS", 0.05)
    ledger.killers = {N - 1}
    ended = asyncio.run(reduce_together(range(N), helpers=helpers))
    assert (ended["done"], ended["received"]) == (N - left, left)
    assert ledger.waiting == [N - 1] * left


def test_what_was_leased_for_a_run_that_cannot_begin_is_given_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(first: int, number: int, *, wary: bool) -> dict[str, int]:
        raise httpx.ConnectError("no server")

    monkeypatch.setattr(share_module, "share_batch", away)
    ledger.waiting = list(range(N))
    with pytest.raises(httpx.ConnectError):
        asyncio.run(share_module.reduce_queue())
    assert ledger.given_back == [0]


CLUSTER = "tcp://10.0.0.5:8786"


class Cluster:
    """Takes one exposure each time it is asked whether it is at work; none where it is stuck."""

    def __init__(self, ledger: Ledger, *, takes: int) -> None:
        self.ledger = ledger
        self.takes = takes
        self.at_work = True
        self.done: list[int] = []

    @asynccontextmanager
    async def shares_on(self, address: str) -> AsyncIterator[Callable[[], bool]]:
        assert address == CLUSTER
        assert self.ledger.waiting, "a share that finds nothing ends"
        yield self.reduce
        self.at_work = False

    def reduce(self) -> bool:
        if self.takes and self.ledger.waiting:
            self.takes -= 1
            one = self.ledger.waiting.pop(0)
            self.done.append(one)
            self.ledger.done.append(one)
        return self.at_work


@pytest.mark.parametrize("takes", [N, N // 2])
def test_a_cluster_does_it_all_and_what_it_leaves_is_done_here(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, takes: int
) -> None:
    cluster = Cluster(ledger, takes=takes)
    monkeypatch.setattr(together_module, "shares_on", cluster.shares_on)
    if takes < N:
        # Nothing changes any more: its workers are gone, or busy for others.
        monkeypatch.setattr(together_module, "IDLE_SECONDS", 0.05)
        monkeypatch.setattr(together_module, "LOOKED_AFTER_SECONDS", 0.001)
    assert asyncio.run(reduce_together(range(N), helpers=0, cluster=CLUSTER)) == {"done": N}
    assert cluster.done == list(range(takes)), "this process left them to the cluster"
    assert ledger.done == list(range(N))
    assert not cluster.at_work
