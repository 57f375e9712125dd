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
        Zero point with its error, the stars it rests on; only the time taken where no catalogue gives a zero
        point, which is a warning of the frame and ends nothing.

    Raises
    ------
    RetryLater
        The store, which is asked for the targets in the field, is locked or away.
    """
    return await asyncio.to_thread(current_reducer().perform, frame_id, "flux")
