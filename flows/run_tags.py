"""What the server is told of a run: the process that executes it, what it reduces, its name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectException
from prefect.flows import Flow
from prefect.logging import get_logger

from nightflow.service.leases import is_service_tag
from nightflow.service.prefect_leftovers import TAG
from nightflow.service.prefect_transport import one_line
from nightflow.service.process_mark import is_mark, own_mark

__all__ = ["change_run", "tag_process", "tags_here"]

log = get_logger("nightflow.flows")

PATIENCE_SECONDS = 5.0
"""How long a name or tags may take; they are never worth more."""


def tags_here(tags: Iterable[str]) -> list[str]:
    """Return tags of a run with the mark of this process in the place of another's.

    By it `nightflow watch` finds runs whose process is no more. It knows those that it executes itself.
    """
    kept = {tag for tag in tags if not is_mark(tag)}
    if any(is_service_tag(tag) for tag in kept):
        return sorted(kept)
    return sorted(kept | {TAG, own_mark()} - {""})


async def change_run(run_id: UUID, otherwise: str, **changes: Any) -> None:
    """Change the name or the tags of a run on the server; where they are not taken, tell and go on.

    Parameters
    ----------
    run_id : UUID
        Of the run.
    otherwise : str
        What the run is or does without the change, for the warning.
    **changes
        As `update_flow_run` of Prefect's client takes them.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), get_client() as client:
            await client.update_flow_run(run_id, **changes)
    except (httpx.HTTPError, PrefectException, RuntimeError, TimeoutError) as error:
        log.warning("run %s %s: %s", run_id, otherwise, one_line(error))


async def tag_process(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Write down on the server which process executes a run; a hook for ``on_running``.

    Nothing is asked of the server for a run of the live service, which knows those that it executes.
    """
    tags = tags_here(flow_run.tags)
    if set(tags) == set(flow_run.tags):
        return
    await change_run(flow_run.id, "has no mark of its process", tags=tags)


def _says_something(record: logging.LogRecord) -> bool:
    """Return False for the two lines with which Prefect would accompany the hook of each run, one a frame."""
    said = record.getMessage()
    return tag_process.__name__ not in said or not said.startswith(("Running hook", "Hook"))


for _name in ("engine", "flow_runs"):
    get_logger(_name).addFilter(_says_something)
