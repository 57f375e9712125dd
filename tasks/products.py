"""Write what is looked at rather than measured: the reduced frame and its thumbnail."""

from __future__ import annotations

import asyncio

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["products"]


@task(name="products", task_run_name="products of frame {frame_id}", **STEP)
async def products(frame_id: int) -> dict[str, str]:
    """Write the reduced FITS file and the thumbnail of a frame whose rows are in the store.

    Returns
    -------
    dict
        "reduced" and "thumbnail": paths; empty where the settings ask for none, or where the disk is away or
        full, which is a warning of the frame and ends nothing.
    """
    return await asyncio.to_thread(current_reducer().products, frame_id)
