"""Write down in the ledger how a frame, and then its exposure, ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

if TYPE_CHECKING:
    from nightflow.pipeline.outcome import Outcome

__all__ = ["conclude", "settle"]


@task(name="settle", task_run_name="settle frame {frame_id}", **STEP)
async def settle(frame_id: int, error: BaseException | None = None) -> str:
    """Give a frame the state that follows from how its steps ended, and forget its arrays.

    Returns
    -------
    str
        The state: done, held, rejected or failed.
    """
    return await asyncio.to_thread(current_reducer().settle_frame, frame_id, error)


@task(name="conclude", task_run_name="conclude exposure {exposure_id}", **STEP)
async def conclude(exposure_id: int, error: BaseException | None = None, *, worker: str) -> Outcome:
    """Give an exposure the state that follows from its frames, or from why it could not be identified.

    Where ``worker`` holds the exposure no more, the outcome is "lost" and the ledger stays as it is.
    """
    return await asyncio.to_thread(current_reducer().conclude, exposure_id, error, worker=worker)
