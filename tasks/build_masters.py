"""Build master calibrations from the frames in the ledger."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["build_all_masters"]


@task(name="build-masters", **STEP)
async def build_all_masters(instrument: str | None, night: str | None) -> list[dict[str, Any]]:
    """Build the masters of a camera or a night.

    Returns
    -------
    list of dict
        One a master: kind, camera, filter, number of inputs, state.

    Raises
    ------
    RetryLater
        The store is locked, or another process builds the same master.
    """
    from nightflow.pipeline.masters import build_all

    return await asyncio.to_thread(build_all, current_reducer(), instrument=instrument, night=night)
