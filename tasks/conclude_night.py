"""Conclude a night."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

if TYPE_CHECKING:
    from nightflow.pipeline.finish import FinishedNight

__all__ = ["conclude_night", "night_to_conclude"]


@task(name="night-to-conclude", **STEP)
async def night_to_conclude() -> tuple[str, str]:
    """Return the newest night of the ledger and, where it cannot be concluded yet, why; "" for none.

    Raises
    ------
    RetryLater
        The store is locked.
    """
    from nightflow.pipeline.night_end import newest_night

    reducer = current_reducer()
    return await asyncio.to_thread(newest_night, reducer.settings, reducer.database, reducer.context.clock())


@task(name="conclude-night", **STEP)
async def conclude_night(night: str) -> FinishedNight | None:
    """Do what `nightflow finish` does; None where the ledger has no frame of the night.

    Raises
    ------
    RetryLater
        The store is locked, or another process builds the same master.
    ConfigurationError
        The folder of the products cannot be written to.
    """
    from nightflow.pipeline.finish import finish_night

    return await asyncio.to_thread(finish_night, current_reducer(), night)
