"""Choose the exposures that are to be reduced once more."""

from __future__ import annotations

import asyncio
from datetime import date

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["select_backfill"]


@task(name="select", **STEP)
async def select_backfill(
    since: date | None, until: date | None, night: date | None, path: str | None, force: bool
) -> list[int]:
    """Return the exposures of the ledger, or newly found below ``path``, that ought to be reduced.

    Raises
    ------
    RetryLater
        The store is locked or away.
    """
    from nightflow.pipeline.backfill import select

    return await asyncio.to_thread(
        select, current_reducer(), since=since, until=until, night=night, path=path, force=force
    )
