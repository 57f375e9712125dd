"""Tell somebody, by the settings of this process."""

from __future__ import annotations

import asyncio

from prefect import task

from tasks.options import STEP

__all__ = ["send_message"]


@task(name="send-message", **STEP)
async def send_message(event: str, text: str, only_at_night: bool) -> str:
    """Send a message by `[notify]`; return what became of it.

    Raises
    ------
    NotSentError
        It did not reach anybody.
    ConfigurationError
        The settings cannot be read.
    """
    from nightflow.config import load_settings
    from nightflow.service.notify import tell_once

    return await asyncio.to_thread(tell_once, load_settings(), event, text, only_at_night=only_at_night)
