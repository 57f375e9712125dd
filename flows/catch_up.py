"""What was reduced while the Prefect server was away."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

__all__ = ["catch_up"]


@flow(
    name="catch-up",
    description="List the exposures that were reduced while this server was away.",
    persist_result=False,
)
async def catch_up(outcomes: list[dict[str, Any]]) -> State[Any]:
    """Show, in one run, what the night did without the server.

    Parameters
    ----------
    outcomes : list of dict
        One an exposure: exposure, path, state, reason, seconds.
    """
    ended = Counter(str(outcome["state"]) for outcome in outcomes)
    message = ", ".join(f"{count} {state}" for state, count in sorted(ended.items()))
    await acreate_table_artifact(
        outcomes, key="catch-up", description=f"Reduced while this server was away: {message}"
    )
    return Completed(message=message)
