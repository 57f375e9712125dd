"""A backfill of which several processes take their share, from the ledger's queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prefect import task

from nightflow.pipeline.run_lease import queue_for_backfill, take_queued
from nightflow.store.models import State
from nightflow.store.overview import counts
from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["calibrations_apart", "cluster", "next_queued", "queue", "states_of"]


@task(name="queue", **STEP)
async def queue(exposure_ids: Sequence[int]) -> None:
    """Put exposures into the ledger's queue as a backfill's.

    Raises
    ------
    RetryLater
        The store is locked or away.
    """
    await asyncio.to_thread(queue_for_backfill, current_reducer().database, exposure_ids)


async def calibrations_apart(exposure_ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return what the others need, and the others."""
    from nightflow.pipeline.run import calibrations_apart as apart

    return await asyncio.to_thread(apart, current_reducer(), exposure_ids)


def cluster() -> str:
    """Return the address of the Dask cluster for backfills; empty where there is none.

    Raises
    ------
    ConfigurationError
        The settings name one that cannot be used.
    """
    from nightflow.pipeline.cluster import cluster_address

    return cluster_address(current_reducer().settings)


async def next_queued() -> int | None:
    """Lease the next exposure of any backfill for this process; None where none waits."""
    return await asyncio.to_thread(take_queued, current_reducer().database)


async def states_of(exposure_ids: Sequence[int]) -> dict[State, int]:
    """Return how many of these exposures are in each state."""
    return await asyncio.to_thread(counts, current_reducer().database, exposure_ids)
