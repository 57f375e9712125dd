"""Conclude a night."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

if TYPE_CHECKING:
    from nightflow.pipeline.finish import FinishedNight

__all__ = ["conclude_night", "which_nights"]


@task(name="nights-to-conclude", **STEP)
async def which_nights() -> tuple[list[str], str]:
    """Return the nights to be concluded, and what the newest still waits for.

    Raises
    ------
    RetryLater
        The store is locked.
    """
    from nightflow.pipeline.night_end import nights_to_conclude

    reducer = current_reducer()
    return await asyncio.to_thread(
        nights_to_conclude, reducer.settings, reducer.database, reducer.context.clock()
    )


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
