"""Find and measure the sources of a calibrated frame."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["measure"]


@task(name="measure", task_run_name="measure frame {frame_id}", **STEP)
async def measure(frame_id: int) -> dict[str, Any]:
    """Background, detection, width of the images, apertures.

    Returns
    -------
    dict
        Sources, width, sky.

    Raises
    ------
    FrameRejected
        There is nothing to measure.
    """
    return await asyncio.to_thread(current_reducer().perform, frame_id, "measure")
