"""Remove the detector's signature from a frame."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["calibrate"]


@task(name="calibrate", task_run_name="calibrate frame {frame_id}", **STEP)
async def calibrate(frame_id: int) -> dict[str, Any]:
    """Choose the masters (build what is missing), apply them, flag bad pixels and cosmic rays.

    Returns
    -------
    dict
        Masters used, pixels flagged.

    Raises
    ------
    MissingCalibration
        No master fits, and the policy is to wait for one.
    FrameRejected
        The pixels are unusable.
    """
    return await asyncio.to_thread(current_reducer().perform, frame_id, "calibrate")
