"""A share of a backfill: what a worker of the pool or of a cluster, here or elsewhere, does of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.batch import BATCH, show_batch, summarised
from flows.ingest import reduce_one
from flows.run_tags import tag_process
from tasks.context import batch_reduction
from tasks.lease import give_back
from tasks.share import next_queued

__all__ = ["reduce_queue", "share"]


@flow(
    name="backfill-share",
    description="Help with a backfill: reduce what the ledger has queued for one, until nothing waits.",
    persist_result=False,
    on_running=[tag_process],
)
async def share() -> State[Any]:
    """Take exposures of a backfill from the ledger's queue; no two processes get the same."""
    with batch_reduction():
        return summarised(await reduce_queue())


async def reduce_queue(*, wary: bool = False) -> Counter[str]:
    """Reduce what is queued for a backfill, a batch a run, until nothing waits.

    Parameters
    ----------
    wary : bool
        Leave to others what somebody has died of.
    """
    ended: Counter[str] = Counter()
    number = 0
    while (first := await next_queued(wary=wary)) is not None:
        number += 1
        try:
            ended.update(await share_batch(first, number, wary=wary))
        except BaseException:
            # The run could not begin, say: nobody shall wait for the lease to end while this process lives.
            give_back(first)
            raise
    return ended


@flow(
    name="backfill-share-batch",
    flow_run_name="batch {number} of this share",
    persist_result=False,
    on_running=[tag_process],
)
async def share_batch(first: int, number: int, *, wary: bool = False) -> dict[str, int]:
    """Reduce exposures of the queue, from one that is leased already; return how many ended in each state."""
    outcomes = [await reduce_one(first, name_the_run=False)]
    while len(outcomes) < BATCH and (following := await next_queued(wary=wary)) is not None:
        outcomes.append(await reduce_one(following, name_the_run=False))
    return await show_batch(outcomes)
