"""The end of a night: what `nightflow finish` does, by itself at dawn."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from prefect import flow, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from tasks.conclude_night import conclude_night, night_to_conclude
from tasks.context import batch_reduction

if TYPE_CHECKING:
    from nightflow.pipeline.finish import FinishedNight

__all__ = ["concluded", "end_of_night", "end_of_night_name"]

ASKED_AGAIN_SECONDS = 60.0
"""How often it is looked whether the last frames are through."""
_SHOWN = ("path", "object", "filter", "fwhm_px", "zp", "grade", "verdict", "why")


def end_of_night_name() -> str:
    """Return the name of a run: which night."""
    return f"end of night {runtime.flow_run.parameters.get('night') or 'that is over'}"


@flow(
    name="end-of-night",
    description="Definitive masters, association, variables, movers and the report of a night.",
    flow_run_name=end_of_night_name,
    persist_result=False,
)
async def end_of_night(
    night: Annotated[
        date | None, Field(description="Date of its evening; else the newest of the ledger")
    ] = None,
    patience_minutes: Annotated[
        float, Field(description="How long the last frames of the newest night are waited for", ge=0)
    ] = 60.0,
) -> State[Any]:
    """Conclude a night, and show its frames and what moves."""
    with batch_reduction():
        wanted, hindrance = (night.isoformat(), "") if night else await _when_over(patience_minutes)
        if hindrance:
            return Completed(name="Skipped", message=hindrance)
        finished = await conclude_night(wanted)
    if finished is None:
        return Completed(name="Skipped", message=f"the ledger has no frame of the night {wanted}")
    await acreate_table_artifact(
        [{key: row.get(key) for key in _SHOWN} for row in finished.rows],
        key="night",
        description=f"night {finished.night}",
    )
    return concluded(finished)


async def _when_over(patience_minutes: float) -> tuple[str, str]:
    """Return the newest night once it is over and through, or with what hinders it when patience ends."""
    asked = 0.0
    while True:
        night, hindrance = await night_to_conclude()
        if not night or not hindrance or asked >= 60.0 * patience_minutes:
            return night, hindrance
        await asyncio.sleep(ASKED_AGAIN_SECONDS)
        asked += ASKED_AGAIN_SECONDS


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
