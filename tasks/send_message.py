"""Tell somebody, by the settings of this process."""

from __future__ import annotations

import asyncio

from prefect import task
from prefect.logging import get_run_logger

from nightflow.shown_url import shown_text
from tasks.options import STEP

__all__ = ["doubts", "send_message"]


@task(name="ask-ledger", **STEP)
async def doubts(exposure_id: int) -> str:
    """Return in words how an exposure stands that has not failed; empty where it has, or nobody knows.

    A run that crashed says nothing of its exposure: whoever takes that up next may reduce it.
    """
    try:
        return await asyncio.to_thread(_not_failed, exposure_id)
    except Exception as error:  # noqa: BLE001  # whatever it is: better told for nothing than not at all
        get_run_logger().warning(
            "exposure %d: the ledger cannot be asked: %s", exposure_id, shown_text(str(error))
        )
        return ""


def _not_failed(exposure_id: int) -> str:
    from nightflow.config import load_settings
    from nightflow.store.database import Database
    from nightflow.store.models import State
    from nightflow.store.overview import get_exposure

    with Database(load_settings().store_url) as database:
        database.check_there()
        exposure = get_exposure(database, exposure_id)
    if exposure is None or exposure.state == State.FAILED:
        return ""
    return f"the ledger has {exposure.path} as {exposure.state}"


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
