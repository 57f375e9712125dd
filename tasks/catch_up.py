"""What was reduced without the Prefect server: read from the ledger, and ticked off there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prefect import task

from nightflow.service.process import call_in_thread
from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["list_missed", "tick_off"]


@task(name="list", **STEP)
async def list_missed(since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Return the exposures that ended in a time without a run that shows them, a row each.

    Raises
    ------
    RetryLater
        The store is locked or away.
    """
    from nightflow.service.unshown import list_unshown

    return await call_in_thread(list_unshown, current_reducer().database, since, until)


@task(name="tick off", **STEP)
async def tick_off(exposure_ids: Sequence[int], run_id: str) -> None:
    """Write into the ledger which run lists these exposures.

    Raises
    ------
    RetryLater
        The store is locked or away.
    """
    from nightflow.service.unshown import note_shown

    await call_in_thread(note_shown, current_reducer().database, exposure_ids, run_id)
