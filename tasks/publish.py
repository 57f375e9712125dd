"""Show a frame in the Prefect UI: an artifact that a reader wants to see.

What is shown never decides about a frame. Where the server is away, the artifact is not made and the log
says so.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from nightflow.service.frame_card import card_key, card_title, frame_card, plain
from nightflow.shown_url import shown_text
from tasks.context import current_reducer

__all__ = ["publish"]

PATIENCE_SECONDS = 5.0


@task(name="publish", task_run_name="card of frame {frame_id}", persist_result=False)
async def publish(frame_id: int, thumbnail: str = "") -> None:
    """Make the artifact of one frame: its picture and its key measures."""
    summary = await asyncio.to_thread(current_reducer().frame_summary, frame_id)
    picture = Path(thumbnail) if thumbnail else None
    card = await asyncio.to_thread(frame_card, summary, picture)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await acreate_markdown_artifact(
                card, key=card_key(frame_id), description=plain(card_title(summary))
            )
    except (httpx.HTTPError, PrefectException, TimeoutError) as error:
        get_run_logger().warning(
            "frame %d: no artifact, the server did not take it: %s", frame_id, shown_text(str(error))
        )
