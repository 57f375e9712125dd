"""Reference stars for tonight's targets, fetched by day, so that the night needs no network."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from prefect import flow, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.form import with_form
from flows.run_tags import tag_process
from nightflow.wording import first_few
from tasks.prefetch_catalog import prefetch_catalog

__all__ = ["prefetch", "prefetch_name"]

NAMED = 3
"""Targets that the message of a run names."""


def prefetch_name() -> str:
    """Return the name of a run: which catalogue, how far around each target."""
    asked = runtime.flow_run.parameters
    return f"{asked.get('service')} within {asked.get('radius'):g} deg of each target"


@flow(
    name="prefetch",
    description="Fetch the reference stars around all targets; what is here is not asked for again.",
    flow_run_name=prefetch_name,
    persist_result=False,
    on_running=[tag_process],
)
@with_form
async def prefetch(
    service: Annotated[str, Field(description="gaia, apass, panstarrs or sdss")] = "gaia",
    radius: Annotated[float, Field(description="Degrees around each target", gt=0, le=10)] = 0.5,
    limit_mag: Annotated[float | None, Field(description="Faintest star; else the service's")] = None,
) -> State[Any]:
    """Fetch, and list what became of each target; failed where the sky of one could not be had."""
    rows = await prefetch_catalog(service, radius, limit_mag)
    ended = Counter(row["state"] for row in rows)
    message = ", ".join(f"{count} {state}" for state, count in sorted(ended.items())) or "no targets"
    await acreate_table_artifact(rows, key="prefetch", description=f"{service}: {message}")
    away = [row for row in rows if row["state"] == "away"]
    if away:
        names = first_few([row["target"] for row in away], NAMED)
        return Failed(message=f"{message}: {service} for {names} ({away[0]['reason']})")
    return Completed(message=message)
