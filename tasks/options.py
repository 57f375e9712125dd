"""What all tasks have in common: when they are tried again, and what is kept of them.

Prefect's retries are for what passes within seconds: a locked database, a catalogue service that hiccups.
What lasts longer is the ledger's business, which holds the exposure and takes it up again.
"""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from nightflow.errors import RetryLater

__all__ = ["STEP", "may_pass"]


async def may_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether a failed task is worth another try: only where something outside was away."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, RetryLater)


STEP: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [0.5, 2.0],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": may_pass,
    # The store knows what is done already; Prefect's cache would only keep a second, older truth.
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""Options of every task that works on an exposure or a frame."""
