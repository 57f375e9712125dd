"""The end of a night: what `nightflow finish` does, by itself at dawn."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from prefect import flow, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.form import with_form
from flows.run_tags import tag_process
from nightflow.pipeline.night_end import LAST_DAYS
from tasks.conclude_night import conclude_night, which_nights
from tasks.context import batch_reduction

if TYPE_CHECKING:
    from nightflow.pipeline.finish import FinishedNight

__all__ = ["concluded", "end_of_night", "end_of_night_name"]

ASKED_AGAIN_SECONDS = 60.0
"""How often it is looked whether the last frames are through."""
NOTHING = (
    f"no night of the last {LAST_DAYS} days has frames that are not concluded; older ones are for who names "
    "them: `-p night=YYYY-MM-DD`"
)
_SHOWN = ("object", "filter", "fwhm_px", "zp", "grade", "verdict", "why")


def end_of_night_name() -> str:
    """Return the name of a run: which night."""
    night = runtime.flow_run.parameters.get("night")
    return f"end of night {night}" if night else "end of the night"


@flow(
    name="end-of-night",
    description="Definitive masters, association, variables, movers and the report of a night.",
    flow_run_name=end_of_night_name,
    persist_result=False,
    on_running=[tag_process],
)
@with_form
async def end_of_night(
    night: Annotated[
        date | None,
        Field(
            description=f"Date of its evening; else each of the last {LAST_DAYS} days with frames that "
            "none has concluded"
        ),
    ] = None,
    patience_minutes: Annotated[
        float, Field(description="How long the last frames of the newest night are waited for", ge=0)
    ] = 60.0,
) -> State[Any]:
    """Conclude a night, or all that want it, and show their frames and what moves."""
    with batch_reduction():
        nights, hindrance = ([night.isoformat()], "") if night else await _when_over(patience_minutes)
        states = [await _conclude(one) for one in nights]
    messages = [str(state.message) for state in states] + ([hindrance] if hindrance else [])
    message = "; ".join(messages) or NOTHING
    # A night that is not concluded in time is told: the next dawn looks at it again.
    if hindrance or any(state.is_failed() for state in states):
        return Failed(message=message)
    return Completed(message=message)


async def _when_over(patience_minutes: float) -> tuple[list[str], str]:
    """Return the nights to conclude once the newest is through, or without it when patience ends."""
    asked = 0.0
    while True:
        nights, hindrance = await which_nights()
        if not hindrance or asked >= 60.0 * patience_minutes:
            return nights, hindrance
        await asyncio.sleep(ASKED_AGAIN_SECONDS)
        asked += ASKED_AGAIN_SECONDS


async def _conclude(night: str) -> State[Any]:
    finished = await conclude_night(night)
    if finished is None:
        return Completed(message=f"the ledger has no frame of the night {night}")
    await acreate_table_artifact(
        [{"file": Path(row["path"]).name} | {key: row.get(key) for key in _SHOWN} for row in finished.rows],
        key="night",
        description=f"night {finished.night}",
    )
    return concluded(finished)


def concluded(finished: FinishedNight) -> State[Any]:
    """Return the final state of a concluded night: failed where one of its frames did."""
    failed = [one for one in finished.run.outcomes if one.state == "failed"]
    passed = sum(row["verdict"] == "pass" for row in finished.rows)
    found = finished.sources
    message = (
        f"night {finished.night}: {passed} of {len(finished.rows)} frames pass, {found.n_sources} sources, "
        f"{found.n_movers} bodies move"
    )
    if failed:
        return Failed(message=f"{message}; failed: {', '.join(one.path for one in failed)}")
    return Completed(message=message)
