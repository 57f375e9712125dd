"""Choose the exposures that are to be reduced once more."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

if TYPE_CHECKING:
    from nightflow.pipeline.backfill import Selection

__all__ = ["list_backfill", "nights_of_ledger", "select_backfill"]


@task(name="select", **STEP)
async def select_backfill(
    since: date | None,
    until: date | None,
    night: date | None,
    path: str | None,
    camera: str | None,
    force: bool,
    dry_run: bool,
) -> Selection:
    """Return the exposures of the ledger, or newly found below ``path``, that ought to be reduced.

    Raises
    ------
    RetryLater
        The store is locked or away.
    """
    from nightflow.pipeline.backfill import select

    nights = (since, until, night)
    return await asyncio.to_thread(
        select, current_reducer(), *nights, path, force, camera=camera, dry_run=dry_run
    )


async def nights_of_ledger() -> list[str]:
    """Return the nights of the ledger, by the dates of their evenings, in order."""
    from nightflow.pipeline.backfill import known_nights

    return await asyncio.to_thread(known_nights, current_reducer())


@task(name="list", **STEP)
async def list_backfill(chosen: Selection) -> list[dict[str, Any]]:
    """Return what a person wants to know of what is to be reduced, a row a frame.

    Raises
    ------
    RetryLater
        The store is locked or away.
    """
    from nightflow.pipeline.backfill import planned_frames

    return await asyncio.to_thread(planned_frames, current_reducer(), chosen)
