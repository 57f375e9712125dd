"""A share of a backfill: what a worker of the pool, on this machine or another, does of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.deployments import arun_deployment
from prefect.exceptions import PrefectException
from prefect.logging import get_logger

from flows.batch import BATCH, show_batch, summarised
from flows.ingest import reduce_one
from tasks.context import batch_reduction
from tasks.share import next_queued, queue, states_of

__all__ = ["reduce_together", "share"]

log = get_logger("nightflow.flows")

SHARE = "backfill-share/share"
"""The deployment that other workers run."""
LOOKED_AFTER_SECONDS = 1.0
"""How often it is looked whether others are through with what they have in hand."""
PATIENCE_SECONDS = 900.0
"""How long nothing may change in the hands of others: a machine that went away keeps its lease for less."""


@flow(
    name="backfill-share",
    description="Help with a backfill: reduce what the ledger has queued for one, until nothing waits.",
    persist_result=False,
)
async def share() -> State[Any]:
    """Take exposures of a backfill from the ledger's queue; no two processes get the same."""
    with batch_reduction():
        return summarised(await _reduce_queue())


async def reduce_together(exposure_ids: Sequence[int], helpers: int) -> Counter[str]:
    """Queue exposures, call helpers, do what they leave, and wait for what they have in hand.

    Returns
    -------
    Counter
        How many of the exposures are in each state, whoever reduced them.
    """
    await queue(exposure_ids)
    for number in range(1, helpers + 1):
        await _call_helper(f"share {number} of {helpers} helpers")
    changed = time.monotonic()
    before: Counter[str] = Counter()
    while True:
        await _reduce_queue()
        states = Counter({str(state): n for state, n in (await states_of(exposure_ids)).items() if n})
        if states != before:
            before, changed = states, time.monotonic()
        open_ones = states["received"] + states["reducing"]
        if not open_ones or time.monotonic() - changed > PATIENCE_SECONDS:
            return states
        await asyncio.sleep(LOOKED_AFTER_SECONDS)


async def _call_helper(name: str) -> None:
    """Ask for one more share; without it the backfill takes longer, and that is all."""
    try:
        await arun_deployment(SHARE, flow_run_name=name, timeout=0)
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("no helper, is %s deployed? %s: %s", SHARE, type(error).__name__, error)


async def _reduce_queue() -> Counter[str]:
    """Reduce what is queued for a backfill, a batch a run, until nothing waits."""
    ended: Counter[str] = Counter()
    number = 0
    while (first := await next_queued()) is not None:
        number += 1
        ended.update(await share_batch(first, number))
    return ended


@flow(name="backfill-share-batch", flow_run_name="batch {number} of this share", persist_result=False)
async def share_batch(first: int, number: int) -> dict[str, int]:
    """Reduce exposures of the queue, from one that is leased already; return how many ended in each state."""
    outcomes = [await reduce_one(first, name_the_run=False)]
    while len(outcomes) < BATCH and (following := await next_queued()) is not None:
        outcomes.append(await reduce_one(following, name_the_run=False))
    return await show_batch(outcomes)
