"""Recognise the camera of an exposure and enter its frames into the ledger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

if TYPE_CHECKING:
    from nightflow.pipeline.outcome import IdentifiedExposure

__all__ = ["identify"]


@task(name="identify", task_run_name="identify exposure {exposure_id}", **STEP)
async def identify(exposure_id: int, *, worker: str) -> IdentifiedExposure:
    """Open the file, recognise the camera, write one ledger row a frame.

    Nothing more is written of its frames once ``worker`` holds the exposure no more.

    Raises
    ------
    FrameRejected
        The file is no readable FITS file, or holds no pixels.
    FrameHeld
        No camera profile matches its header.
    """
    return await asyncio.to_thread(current_reducer().identify, exposure_id, worker=worker)
