"""Old nights, reduced once more: with better masters, a new catalogue, or newer software."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from prefect import flow, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.batch import BATCH, show_batch, summarised
from flows.form import with_form
from flows.ingest import reduce_one
from flows.run_tags import tag_process
from flows.together import reduce_together
from nightflow.nights import no_frames_of
from tasks.context import batch_reduction
from tasks.select_backfill import list_backfill, nights_of_ledger, select_backfill
from tasks.share import calibrations_apart, cluster, left_open, try_failed_again

if TYPE_CHECKING:
    from nightflow.pipeline.backfill import Selection

__all__ = ["backfill", "backfill_batch", "backfill_name", "batches"]


def backfill_name() -> str:
    """Return the name of a run: which nights, files or camera, and whether it is only a plan."""
    asked = runtime.flow_run.parameters
    nights = asked.get("night") or f"{asked.get('since') or ''}..{asked.get('until') or ''}".strip(".")
    what = (str(part) for part in (nights, asked.get("path"), asked.get("camera")) if part)
    return f"{'plan' if asked.get('dry_run') else 'backfill'} {' '.join(what) or 'everything'}"


@flow(
    name="backfill",
    description="Reduce old nights once more, in batches.",
    flow_run_name=backfill_name,
    persist_result=False,
    on_running=[tag_process],
)
@with_form
async def backfill(
    since: Annotated[date | None, Field(description="First night, by the date of its evening")] = None,
    until: Annotated[date | None, Field(description="Last night, by the date of its evening")] = None,
    night: Annotated[date | None, Field(description="This night only, by the date of its evening")] = None,
    path: Annotated[str, Field(description="Only files below this folder; new ones are received")] = "",
    camera: Annotated[
        str, Field(description="Only this camera, by the name of its profile; empty: all")
    ] = "",
    force: Annotated[bool, Field(description="Also exposures for which nothing has changed")] = False,
    dry_run: Annotated[
        bool, Field(description="Only list what would be reduced, receive nothing; off: reduce it")
    ] = False,
    helpers: Annotated[
        int, Field(description="Other workers of the pool that shall take their share", ge=0, le=64)
    ] = 0,
) -> State[Any]:
    """Choose exposures and reduce them, a batch a run."""
    with batch_reduction():
        selection = await select_backfill(since, until, night, path or None, camera or None, force, dry_run)
        chosen = selection.exposures
        if night and not chosen and night.isoformat() not in (known := await nights_of_ledger()):
            return Completed(message=no_frames_of(night.isoformat(), known))
        if dry_run:
            return await planned(selection)
        if force:
            await try_failed_again(chosen)
        address = cluster()
        if not helpers and not address:
            return summarised(await reduce_alone(chosen))
        # Others need what calibrations say; they take no time.
        calibrations, others = await calibrations_apart(chosen)
        ended = await reduce_alone(calibrations)
        ended += await reduce_together(others, helpers, address)
        return summarised(ended, await left_open(others))


async def planned(chosen: Selection) -> State[Any]:
    """List what would be reduced, and return the final state of a backfill that is only a plan."""
    message = f"{chosen.summary}; none was, for dry_run is on"
    await acreate_table_artifact(await list_backfill(chosen), key="backfill-plan", description=message)
    return Completed(name="Planned", message=message)


async def reduce_alone(exposure_ids: Sequence[int]) -> Counter[str]:
    """Reduce exposures in this process, a batch a run; return how many ended in each state."""
    ended: Counter[str] = Counter()
    parts = list(batches(exposure_ids, BATCH))
    for number, batch in enumerate(parts, start=1):
        ended.update(await backfill_batch(batch, number=number, of=len(parts)))
    return ended


@flow(
    name="backfill-batch",
    flow_run_name="batch {number} of {of}",
    persist_result=False,
    on_running=[tag_process],
)
async def backfill_batch(exposure_ids: list[int], number: int, of: int) -> dict[str, int]:
    """Reduce some exposures, one after another; return how many ended in each state."""
    return await show_batch([await reduce_one(one, name_the_run=False) for one in exposure_ids])


def batches(exposure_ids: Sequence[int], size: int) -> Iterator[list[int]]:
    """Cut a list into parts of at most ``size``, in order."""
    for start in range(0, len(exposure_ids), size):
        yield list(exposure_ids[start : start + size])
