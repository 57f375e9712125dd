"""Runs that nobody executes any more: what a dead process, or a server that was away, has left open."""

from __future__ import annotations

import logging
from collections.abc import Collection
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Crashed

from nightflow.service.process_mark import is_gone, is_mark

__all__ = ["PAGE", "TAG", "close_dead_runs", "close_lost_runs", "close_runs"]

log = logging.getLogger(__name__)

PAGE = 200
"""Runs that the server gives at once; it gives no more."""
TAG = "nightflow"
"""Of runs of the deployments, and of what is part of them."""
_UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
_AT_WORK = [StateType.RUNNING, StateType.CANCELLING]
"""States in which a run has a process. A paused one needs none, one that is pending may have none yet."""

_LOST = "its service stopped, or the server was away when it ended; the ledger knows how it went"
_DEAD = "its process is no more: it was killed, or the machine was started anew"


async def close_lost_runs(client: PrefectClient, identity: str, *, but: Collection[UUID]) -> None:
    """Mark runs as crashed that a service, or its predecessor, began and cannot end any more.

    Parameters
    ----------
    client : PrefectClient
    identity : str
        Tag of the service's runs.
    but : collection of UUID
        Runs that are being executed; looked at anew for each, for the server may take its time.
    """
    await close_runs(client, identity, _UNFINISHED, _LOST, but=but)


async def close_dead_runs(client: PrefectClient) -> None:
    """Mark runs as crashed that were at work in a process of this machine which is no more.

    A power cut leaves nobody else who could; some deployments let only one run be at work at a time.
    """
    for run in await _runs(client, TAG, _AT_WORK):
        marks = [tag for tag in run.tags if is_mark(tag)]
        if marks and all(is_gone(mark) for mark in marks):
            await _close(client, run, _AT_WORK, _DEAD)


async def close_runs(
    client: PrefectClient,
    tag: str,
    states: list[StateType],
    message: str,
    *,
    but: Collection[UUID] = (),
) -> None:
    """Mark all runs with a tag that are in one of these states as crashed.

    Parameters
    ----------
    client : PrefectClient
    tag : str
    states : list of StateType
    message : str
        Of their new state.
    but : collection of UUID
        Runs that are left as they are.
    """
    for run in await _runs(client, tag, states):
        if run.id not in but:
            await _close(client, run, states, message)


async def _close(client: PrefectClient, run: FlowRun, states: list[StateType], message: str) -> None:
    # It may have come to its end, and then its process to its own, since the runs were listed.
    now = (await client.read_flow_run(run.id)).state
    if now is None or now.type not in states:
        return
    crashed: State[None] = Crashed(message=message)
    await client.set_flow_run_state(run.id, crashed, force=True)
    log.info("run %s (%s): closed as crashed", run.id, run.name)


async def _runs(client: PrefectClient, tag: str, states: list[StateType]) -> list[FlowRun]:
    chosen = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[tag]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
    )
    runs: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(flow_run_filter=chosen, limit=PAGE, offset=len(runs))
        runs.extend(page)
        if len(page) < PAGE:
            return runs
