"""Day's work on the store: backup, room, check."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.form import with_form
from flows.run_tags import tag_process
from tasks.maintain_store import maintain_store

__all__ = ["maintenance"]


@flow(
    name="maintenance",
    description="Back the store up, delete what nobody reads, and check that rows agree with rows and files.",
    flow_run_name="maintenance of the store",
    persist_result=False,
    on_running=[tag_process],
)
@with_form
async def maintenance(
    keep_backups: Annotated[int, Field(description="Backups that stay; 0: make none", ge=0)] = 7,
    prune_days: Annotated[
        float, Field(description="Age at which superseded versions lose their measurements", ge=0)
    ] = 30.0,
    shrink: Annotated[
        bool, Field(description="Vacuum an SQLite store: nobody can write to it meanwhile")
    ] = False,
) -> State[Any]:
    """Do it step by step; failed where a step failed, after all of them were tried."""
    rows = await maintain_store(keep_backups, prune_days, shrink)
    failed = [row for row in rows if row["state"] == "failed"]
    message = "; ".join(f"{row['step']}: {row['what']}" for row in (failed or rows))
    await acreate_table_artifact(rows, key="maintenance", description=message)
    return Failed(message=message) if failed else Completed(message=message)
