"""Back the store up, make room, and check it."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["maintain_store"]


@task(name="maintain-store", **STEP)
async def maintain_store(keep_backups: int, prune_days: float, shrink: bool) -> list[dict[str, Any]]:
    """Do what is done by day; see `nightflow.service.maintenance.maintain`.

    Returns
    -------
    list of dict
        One row a step.
    """
    from nightflow.service.maintenance import maintain

    reducer = current_reducer()
    return await asyncio.to_thread(
        maintain,
        reducer.settings,
        reducer.database,
        now=reducer.context.clock(),
        keep_backups=keep_backups,
        prune_days=prune_days,
        shrink=shrink,
    )
