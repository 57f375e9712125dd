"""A backfill of which several processes take their share, from the ledger's queue."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import partial

from prefect import task

from nightflow.errors import ConfigurationError
from nightflow.pipeline.run_lease import hand_back, queue_for_backfill, take_queued, try_again, unsettled
from nightflow.service.instance_lock import lock_holder
from nightflow.service.leases import service_tag
from nightflow.service.process import taken_in_thread
from nightflow.shown_url import shown_url
from nightflow.store.database import Database
from nightflow.store.models import State
from nightflow.store.overview import counts
from tasks.context import current_reducer
from tasks.options import STEP

__all__ = [
    "calibrations_apart",
    "check_ledger",
    "cluster",
    "ledger_tag",
    "left_open",
    "next_queued",
    "queue",
    "states_of",
    "try_failed_again",
]


@task(name="queue", **STEP)
async def queue(exposure_ids: Sequence[int]) -> None:
    """Put exposures into the ledger's queue as a backfill's.

    Raises
    ------
    RetryLater
        The store is locked or away.
    """
    await asyncio.to_thread(_queue, current_reducer().database, exposure_ids)


def _queue(database: Database, exposure_ids: Sequence[int]) -> None:
    queue_for_backfill(database, exposure_ids, watched=lock_holder(database) is not None)


async def left_open(exposure_ids: Sequence[int]) -> list[str]:
    """Return in words which of these exposures are not settled, and why."""
    return await asyncio.to_thread(unsettled, current_reducer().database, exposure_ids)


@task(name="try-again", **STEP)
async def try_failed_again(exposure_ids: Sequence[int]) -> None:
    """Put those of some exposures that have failed back into the queue, whatever they failed of.

    Raises
    ------
    RetryLater
        The store is locked or away.
    """
    await asyncio.to_thread(try_again, current_reducer().database, exposure_ids)


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


def ledger_tag() -> str:
    """Return a name for the ledger of this process's settings; it tells no secret."""
    return service_tag(current_reducer().settings.store_url)


def check_ledger(tag: str) -> None:
    """Look whether this process has the ledger that another has, by the name that `ledger_tag` gives there.

    Raises
    ------
    ConfigurationError
        It has another one, whose queue is not the backfill's.
    """
    if ledger_tag() != tag:
        url = shown_url(current_reducer().settings.store.url)
        raise ConfigurationError(
            f"[store] url = {url!r} on {socket.gethostname()}: not the ledger of the backfill; write there, "
            "letter by letter, what the settings of the backfill have, and start the worker anew"
        )


async def next_queued(*, wary: bool = False) -> int | None:
    """Lease the next exposure of any backfill for this process; None where none waits.

    Parameters
    ----------
    wary : bool
        Leave to others what somebody has died of.
    """
    database = current_reducer().database
    return await taken_in_thread(partial(take_queued, database, wary=wary), partial(hand_back, database))


async def states_of(exposure_ids: Sequence[int]) -> dict[State, int]:
    """Return how many of these exposures are in each state."""
    return await asyncio.to_thread(counts, current_reducer().database, exposure_ids)
