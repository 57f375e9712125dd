"""Put the measured fluxes of a solved frame on a magnitude scale."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["flux"]


@task(name="flux", task_run_name="flux frame {frame_id}", **STEP)
async def flux(frame_id: int) -> dict[str, Any]:
    """Match to the reference catalogue; zero point, colour term, depth.

    Returns
    -------
    dict
        Zero point with its error, the stars it rests on.

    Raises
    ------
    FrameHeld
        The reference catalogue has no stars here.
    RetryLater
        A catalogue service is away.
    """
    return await asyncio.to_thread(current_reducer().perform, frame_id, "flux")
