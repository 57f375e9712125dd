"""A backfill that others help with: workers of the pool, and those of a Dask cluster."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

import httpx
from prefect.deployments import arun_deployment
from prefect.exceptions import PrefectException
from prefect.logging import get_logger

from flows.cluster import shares_on
from flows.share import reduce_queue
from nightflow.shown_url import shown_text
from tasks.share import queue, states_of

__all__ = ["reduce_together"]

log = get_logger("nightflow.flows")

SHARE = "backfill-share/share"
"""The deployment that other workers run."""
LOOKED_AFTER_SECONDS = 1.0
"""How often it is looked whether others are through with what they have in hand."""
IDLE_SECONDS = 120.0
"""How long nothing may change before this process does what a cluster should do: it may be busy or dead."""
PATIENCE_SECONDS = 900.0
"""How long nothing may change in the hands of others: a machine that went away keeps its lease for less."""


async def reduce_together(exposure_ids: Sequence[int], helpers: int, cluster: str = "") -> Counter[str]:
    """Queue exposures, call helpers, do what they leave, and wait for what they have in hand.

    Parameters
    ----------
    exposure_ids : sequence of int
        Of the ledger.
    helpers : int
        Workers of the pool that are called.
    cluster : str
        Address of a Dask cluster whose workers all get a share; as long as they get on, this process leaves
        the exposures to them.

    Returns
    -------
    Counter
        How many of the exposures are in each state, whoever reduced them.
    """
    await queue(exposure_ids)
    wary = bool(helpers or cluster)
    for number in range(1, helpers + 1):
        await _call_helper(f"share {number} of {helpers} helpers")
    if not cluster:
        return await _see_through(exposure_ids, lambda: False, wary=wary)
    async with shares_on(cluster) as at_work:
        return await _see_through(exposure_ids, at_work, wary=wary)


async def _see_through(
    exposure_ids: Sequence[int], left_to_others: Callable[[], bool], *, wary: bool
) -> Counter[str]:
    """Reduce what is queued, unless others shall, until all is settled or nothing changes any more.

    With ``wary``, what somebody has died of is left to others: with this process the backfill would end.
    """
    changed = time.monotonic()
    before: Counter[str] = Counter()
    while True:
        if time.monotonic() - changed >= IDLE_SECONDS or not left_to_others():
            await reduce_queue(wary=wary)
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
        log.warning("no helper, is %s deployed? %s: %s", SHARE, type(error).__name__, shown_text(str(error)))
