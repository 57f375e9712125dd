"""Tell somebody what the Prefect server has seen; run by the automations that `nightflow deploy` makes."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.form import with_form
from flows.run_tags import tag_process
from tasks.send_message import doubts, send_message

__all__ = ["tell"]


@flow(
    name="tell",
    description="Send a message by [notify] in the settings.",
    flow_run_name="tell of {event}",
    persist_result=False,
    on_running=[tag_process],
)
@with_form
async def tell(
    event: Annotated[str, Field(description="Kind of event: one kind is not told again at once")],
    text: Annotated[str, Field(description="What to say")],
    only_at_night: Annotated[bool, Field(description="Not while it is light at [site]")] = False,
    if_failed: Annotated[
        int | None, Field(description="Only where the ledger has this exposure, by its number, as failed")
    ] = None,
) -> State[Any]:
    """Send the message; red where it reached nobody."""
    if if_failed is not None and (doubt := await doubts(if_failed)):
        return Completed(message=f"not told: {doubt}")
    return Completed(message=await send_message(event, text, only_at_night))
