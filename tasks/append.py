"""Write a frame's reduction and measurements into the store."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["append"]


@task(name="append", task_run_name="append frame {frame_id}", **STEP)
async def append(frame_id: int) -> dict[str, Any]:
    """One transaction: the new reduction and its rows; the old version is superseded.

    Returns
    -------
    dict
        Version written, number of rows.

    Raises
    ------
    RetryLater
        The store is locked or away; nothing was written.
    """
    return await asyncio.to_thread(current_reducer().perform, frame_id, "append")
