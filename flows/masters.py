"""Master calibrations, built ahead of the frames that need them."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from prefect import flow, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.form import with_form
from flows.run_tags import tag_process
from tasks.build_masters import build_all_masters
from tasks.context import batch_reduction

__all__ = ["build_masters", "masters_name"]


def masters_name() -> str:
    """Return the name of a run: which camera's masters, of which night."""
    asked = runtime.flow_run.parameters
    return f"masters of {asked.get('instrument') or 'all cameras'}, {asked.get('night') or 'all nights'}"


@flow(
    name="build-masters",
    description="Build the master calibrations of a night or a camera from the frames in the ledger.",
    flow_run_name=masters_name,
    persist_result=False,
    on_running=[tag_process],
)
@with_form
async def build_masters(
    instrument: Annotated[str, Field(description="Only this camera; empty: all")] = "",
    night: Annotated[str, Field(description="Only of this night, as 2024-05-12; empty: all")] = "",
) -> State[Any]:
    """Build every master that the calibrations of the ledger allow; what exists is left as it is."""
    with batch_reduction():
        masters = await build_all_masters(instrument or None, night or None)
    kinds = Counter(f"{master['kind']} {master['state']}" for master in masters)
    message = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "no calibrations"
    await acreate_table_artifact(masters, key="masters", description=message)
    return Completed(message=message)
