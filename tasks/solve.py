"""Find where on the sky a measured frame lies."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["solve"]


@task(name="solve", task_run_name="solve frame {frame_id}", **STEP)
async def solve(frame_id: int) -> dict[str, Any]:
    """Climb the ladder of solvers and verify what they found.

    Returns
    -------
    dict
        Backend, quality and residuals of the solution.

    Raises
    ------
    NoSolution
        No rung of the ladder gave a solution that could be verified.
    RetryLater
        A solver or catalogue outside is away.
    """
    return await asyncio.to_thread(current_reducer().perform, frame_id, "solve")
