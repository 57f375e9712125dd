"""`deploy`: what the Prefect server needs beside the live runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import ConfigOption, fail, say, settings_or_exit
from nightflow.errors import NightflowError
from nightflow.service.prefect_environment import prepare_environment

__all__ = ["deploy"]


def deploy(
    file: Annotated[
        Path | None, typer.Option("--file", help="Else the prefect.yaml that comes with nightflow.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make deployments, queues, the schedule of the night's end and automations on the Prefect server.

    Again, everything is brought up to date. A worker then serves what people and schedules start:
    `prefect worker start --pool nightflow`.
    """
    settings = settings_or_exit(config)
    prepare_environment(settings.prefect)
    # Imported here: Prefect takes two seconds to import and reads its environment then.
    from nightflow.service.prefect_deployments import DEPLOYED_FROM
    from nightflow.service.prefect_deployments import deploy as deploy_all

    minutes = settings.notify.no_frame_minutes
    try:
        for line in asyncio.run(deploy_all(settings, file or DEPLOYED_FROM, no_frame_minutes=minutes)):
            say(line)
    except NightflowError as error:
        fail(str(error))
