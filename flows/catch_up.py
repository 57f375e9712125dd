"""What was reduced without a run: the Prefect server was away, or frames were late."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from prefect import flow, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.catch_up import list_missed, tick_off

__all__ = ["catch_up"]

ROWS = 1000
"""Of one table; a long outage has several."""


@flow(
    name="catch-up",
    description="List exposures that were reduced without a run: this server was away, or they were late.",
    persist_result=False,
)
async def catch_up(since: datetime, until: datetime) -> State[Any]:
    """Show, in one run, what the night did without one for each exposure.

    Only what has been shown is ticked off in the ledger: where that fails, the next run lists it.

    Parameters
    ----------
    since, until : datetime
        When the first and the last of the exposures ended.
    """
    missed = await list_missed(since, until)
    ended = Counter(row["state"] for row in missed)
    message = ", ".join(f"{count} {state}" for state, count in sorted(ended.items())) or "nothing is left"
    for start in range(0, len(missed), ROWS):
        await acreate_table_artifact(
            missed[start : start + ROWS],
            key="catch-up",
            description=f"Reduced without a run, as this server was away, or they were late: {message}",
        )
    await tick_off([row["exposure"] for row in missed], str(runtime.flow_run.id))
    return Completed(message=message)
