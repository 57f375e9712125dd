"""Hold an exposure while a run reduces it, so that no two processes settle it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from prefect import task

from nightflow.pipeline.run_lease import hand_back, kept
from nightflow.pipeline.run_name import shown_worker
from nightflow.service.leases import hold
from nightflow.service.process import taken_in_thread
from nightflow.store.deaths import is_given_up
from nightflow.store.models import State
from nightflow.store.overview import get_exposure
from tasks.context import current_reducer
from tasks.options import STEP

if TYPE_CHECKING:
    from nightflow.pipeline.outcome import Outcome

__all__ = ["BUSY", "give_back", "lease", "lease_kept", "not_taken"]

BUSY = "busy"
"""State of an outcome: another process has the exposure, and this run did nothing."""


@task(name="lease", task_run_name="lease exposure {exposure_id}", **STEP)
async def lease(exposure_id: int) -> str | None:
    """Lease an exposure, unless this process holds it already, as the live service does for its runs.

    Returns
    -------
    str or None
        The name under which it is held; None where it is not to be had, see `not_taken`.

    Raises
    ------
    KeyError
        The ledger has no such exposure.
    RetryLater
        The store is locked or away.
    """
    database = current_reducer().database
    return await taken_in_thread(
        partial(hold, database, exposure_id), lambda _worker: hand_back(database, exposure_id)
    )


@asynccontextmanager
async def lease_kept(exposure_id: int) -> AsyncIterator[None]:
    """Prolong a lease while the block runs; what the live service holds it prolongs itself."""
    keeping = kept(current_reducer().database, exposure_id)
    keeping.__enter__()
    try:
        yield
    finally:
        # It may be waiting for the store.
        await asyncio.to_thread(keeping.__exit__, None, None, None)


def give_back(exposure_id: int) -> None:
    """Hand an exposure back unreduced; what the live service holds is its own to hand back."""
    hand_back(current_reducer().database, exposure_id)


def not_taken(exposure_id: int) -> Outcome:
    """Return the outcome of an exposure that could not be leased.

    Another process has it, it is a copy, or it has failed since whoever had it in work died, each time.
    """
    from nightflow.pipeline.outcome import Outcome

    exposure = get_exposure(current_reducer().database, exposure_id)
    assert exposure is not None
    is_settled = exposure.state == State.DUPLICATE or is_given_up(exposure)
    holder = shown_worker(exposure.leased_by or "another process")
    return Outcome(
        exposure_id=exposure_id,
        path=exposure.path,
        state=str(exposure.state) if is_settled else BUSY,
        reason=exposure.reason if is_settled else f"{holder} has it",
        seconds=0.0,
    )
