"""Exposures that are reduced one after another in one run, and how that is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from nightflow.wording import first_few

if TYPE_CHECKING:
    from nightflow.pipeline.outcome import Outcome

__all__ = ["BATCH", "show_batch", "summarised"]

BATCH = 50
"""Exposures of one run: enough to be quick, few enough to read."""
NAMED = 5
"""Exposures that a message names."""


async def show_batch(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """List what became of the exposures of a run; return how many ended in each state."""
    await acreate_table_artifact(
        [
            {
                "file": Path(outcome.path).name,
                "state": outcome.state,
                "seconds": round(outcome.seconds, 2),
                "reason": outcome.reason,
            }
            for outcome in outcomes
        ],
        key="backfill-batch",
        description=f"{len(outcomes)} exposures",
    )
    return dict(Counter(outcome.state for outcome in outcomes))


def summarised(ended: Counter[str], left: Sequence[str] = ()) -> State[Any]:
    """Return the final state of a backfill: failed where one of its exposures did, or is not settled.

    Parameters
    ----------
    ended : Counter
        How many of its exposures are in each state.
    left : sequence of str
        Those that wait or are in work still, in words.
    """
    message = ", ".join(f"{count} {state}" for state, count in sorted(ended.items())) or "nothing to reduce"
    if left:
        named = first_few(left, NAMED)
        message = (
            f"{message}; not reduced: {named}; see `nightflow status`, then start the backfill again; what "
            "nobody takes is reduced by `nightflow run FILE`"
        )
    is_bad = ended["failed"] or ended["received"] or ended["reducing"]
    return Failed(message=message) if is_bad else Completed(message=message)
