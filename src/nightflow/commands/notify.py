"""`notify`: tell somebody, as `watch` does; to try it, and for a unit that has failed."""

from __future__ import annotations

from typing import Annotated

import typer

from nightflow.commands.common import ConfigOption, fail, say, settings_or_exit
from nightflow.service.notify import NotSentError, send

__all__ = ["notify"]


def notify(
    text: Annotated[str, typer.Argument(help="What to say.")] = "a test: nightflow can reach you",
    event: Annotated[str, typer.Option(help="Kind of event.")] = "test",
    config: ConfigOption = None,
) -> None:
    r"""Send a message the way `watch` does (\[notify] command and webhook), to see that it arrives."""
    settings = settings_or_exit(config)
    if not settings.notify.names_somebody:
        fail("nobody to tell: set command under [notify] in the settings, or NIGHTFLOW_NOTIFY__WEBHOOK")
    try:
        send(settings.notify, event, text)
    except NotSentError as error:
        fail(str(error))
    say("sent")
