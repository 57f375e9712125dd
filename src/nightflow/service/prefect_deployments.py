"""What the Prefect server needs beside the live runs: queues, deployments, schedules, automations.

Done again, it is brought up to date; what others have added to the server stays.
"""

from __future__ import annotations

import calendar
import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException

from nightflow.config import Settings, SiteSettings
from nightflow.errors import ConfigurationError
from nightflow.external import ProgramError, run_bounded
from nightflow.nights import night_bounds
from nightflow.shown_url import shown_text, shown_url
from nightflow.sun import DARK, dark_hours

__all__ = ["DEPLOYED_FROM", "dawn_crons", "deploy", "noon_cron"]

DEPLOYED_FROM = Path(__file__).with_name("prefect.yaml")
"""Comes with the package, however it is installed; deployments/prefect.yaml of a checkout is a link to it."""
POOL = "nightflow"
QUEUES = {"night": 1, "day": 10}
"""Queue -> priority, the smaller the sooner: a message at night does not wait for a backfill."""
_BY_DAY = ("prefetch/prefetch", "maintenance/maintenance")
"""Half an hour one after the other."""
_CREDENTIALS = ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_CLIENT_CUSTOM_HEADERS")
_SECONDS = 180.0
_PREFIX = "nightflow: "
_AFTER_DAWN = 30
"""Minutes."""
_MINUTES_OF_A_DAY = 1440
_CIVIL, _SUNRISE = -6.0, -0.8
"""Degrees of the Sun's altitude."""
_YEAR = 2027
"""Any that is not a leap year: dawn comes at the same time in all of them, to a minute or two."""


async def deploy(settings: Settings, file: Path, *, no_frame_minutes: float) -> list[str]:
    """Bring the server of PREFECT_API_URL up to date.

    Parameters
    ----------
    settings : Settings
        `[site]` tells when the end of the night is.
    file : Path
        Such as `DEPLOYED_FROM`.
    no_frame_minutes : float
        Without a live run at night, after which it is told.

    Returns
    -------
    list of str
        What there is now.

    Raises
    ------
    ConfigurationError
        The server is away or refuses something, or the file is not there.
    """
    if not file.is_file():
        raise ConfigurationError(
            f"{file}: there is no such file; without --file the one that comes with nightflow is taken"
        )
    try:
        async with get_client() as client:
            problem = await client.api_healthcheck()
            if problem is not None:
                raise ConfigurationError(
                    f"no answer from the Prefect server at {shown_url(str(client.api_url))}: start it, "
                    "or set PREFECT_API_URL"
                )
            await _make_queues(client)
            _deploy_file(file)
            said = [f"deployments of {file}", *await _schedule(client, settings.site)]
            return [*said, *await _make_automations(client, no_frame_minutes)]
    except (httpx.HTTPError, PrefectException) as error:
        fault = shown_text(f"{type(error).__name__}: {error}")
        raise ConfigurationError(f"the Prefect server refused: {fault}") from error


async def _make_queues(client: PrefectClient) -> None:
    with suppress(ObjectAlreadyExists):
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    for name, priority in QUEUES.items():
        try:
            queue = await client.read_work_queue_by_name(name, POOL)
            await client.update_work_queue(queue.id, priority=priority)
        except ObjectNotFound:
            await client.create_work_queue(name, priority=priority, work_pool_name=POOL)


def _deploy_file(file: Path) -> None:
    """Let Prefect's own command read the file: what it means is its business."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    try:
        finished = run_bounded(command, seconds=_SECONDS, environment=_credentials())
    except ProgramError as error:
        raise ConfigurationError(shown_text(f"{file}: {error}")) from error
    if finished.status:
        raise ConfigurationError(
            f"{file}: prefect deploy ended with {finished.status}: {shown_text(finished.last_words)}"
        )


def _credentials() -> dict[str, str]:
    """Return what a server may ask of who deploys to it; other programs are not given it."""
    return {name: value for name, value in os.environ.items() if name.upper() in _CREDENTIALS}


async def _schedule(client: PrefectClient, site: SiteSettings | None) -> list[str]:
    """Give the end of the night and day's work their times at the site."""
    if site is None:
        return [
            "end-of-night has no schedule, and day's work is done at noon in Greenwich: set latitude and "
            "longitude under [site], and deploy again"
        ]
    crons = dawn_crons(site)
    await _set_schedules(client, "end-of-night/end-of-night", crons)
    for number, name in enumerate(_BY_DAY):
        await _set_schedules(client, name, [noon_cron(site, 30 * number)])
    return [
        f"end-of-night {_AFTER_DAWN} min after the latest dawn of each month, {len(crons)} of them",
        f"{' and '.join(name.split('/')[0] for name in _BY_DAY)} after local noon",
    ]


async def _set_schedules(client: PrefectClient, name: str, crons: list[str]) -> None:
    """Let a deployment have these schedules (UTC), in the place of those that there are."""
    deployment = await client.read_deployment_by_name(name)
    for old in await client.read_deployment_schedules(deployment.id):
        await client.delete_deployment_schedule(deployment.id, old.id)
    schedules: list[tuple[Any, bool]] = [(CronSchedule(cron=one, timezone="UTC"), True) for one in crons]
    await client.create_deployment_schedules(deployment.id, schedules)


def noon_cron(site: SiteSettings, minutes: int) -> str:
    """Return the cron expression (UTC) of a time so many minutes after the site's mean noon."""
    minute = round(720.0 - 4.0 * site.longitude + minutes) % _MINUTES_OF_A_DAY
    return f"{minute % 60} {minute // 60} * * *"


def dawn_crons(site: SiteSettings) -> list[str]:
    """Return one cron expression (UTC) a month: half an hour after the latest dawn in it.

    Where a night is not dark it ends with civil dawn, else with sunrise; where the Sun does not set, when it
    stands lowest.
    """
    crons = []
    for month in range(1, 13):
        days = (1, 8, 15, 22, calendar.monthrange(_YEAR, month)[1])
        ends = [_MINUTES_OF_A_DAY * (_dawn(site, f"{_YEAR}-{month:02d}-{day:02d}") % 1.0) for day in days]
        minute = (_latest(ends) + _AFTER_DAWN) % _MINUTES_OF_A_DAY
        crons.append(f"{minute % 60} {minute // 60} * {month} *")
    return crons


def _dawn(site: SiteSettings, night: str) -> float:
    """Return when the deepest twilight that a night reaches is over, UTC MJD."""
    for below in (DARK, _CIVIL, _SUNRISE):
        hours = dark_hours(site.latitude, site.longitude, night, below=below)
        if hours is not None:
            return hours[1]
    start, end = night_bounds(night, site.longitude)
    return (start + end) / 2  # the Sun's lowest point, to a quarter of an hour


def _latest(minutes: list[float]) -> int:
    """Return the latest of times of day that lie close together, also where midnight is among them."""
    first = minutes[0]
    half = _MINUTES_OF_A_DAY / 2
    since = [(one - first + half) % _MINUTES_OF_A_DAY - half for one in minutes]
    return int(first + max(since)) % _MINUTES_OF_A_DAY


async def _make_automations(client: PrefectClient, no_frame_minutes: float) -> list[str]:
    tell = (await client.read_deployment_by_name("tell/tell")).id
    live = await _live(client)
    if live is None:
        return [
            "no automations yet: `nightflow watch` makes the deployment of live runs; deploy again after it"
        ]
    wanted = _automations(tell, live, no_frame_minutes)
    for automation in wanted:
        for old in await client.read_automations_by_name(automation.name):
            await client.delete_automation(old.id)
        await client.create_automation(automation)
    return [f"automation {automation.name!r}" for automation in wanted]


async def _live(client: PrefectClient) -> UUID | None:
    try:
        return (await client.read_deployment_by_name("ingest-exposure/live")).id
    except ObjectNotFound:
        return None


def _automations(tell: UUID, live: UUID, no_frame_minutes: float) -> list[AutomationCore]:
    of_live = {"prefect.resource.id": f"prefect.deployment.{live}", "prefect.resource.role": "deployment"}
    ended = {"prefect.flow-run.Completed", "prefect.flow-run.Failed"}
    return [
        _automation(
            "no frame at night",
            EventTrigger(
                match_related=of_live, expect=ended, after=ended, posture=Posture.Proactive, threshold=1,
                within=timedelta(minutes=no_frame_minutes),
            ),
            tell, "no_frames",
            f"no live run for {no_frame_minutes:g} minutes, and it is dark: is the watcher alive?",
            only_at_night=True,
        ),
        _automation(
            "failed frames",
            EventTrigger(
                match_related=of_live, expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
                posture=Posture.Reactive, threshold=1, within=timedelta(0),
            ),
            tell, "failed_frames", "{{ flow_run.name }} failed: {{ flow_run.state.message }}",
            if_failed=_CRASHED,
        ),
        _automation(
            "zero point fell",
            EventTrigger(
                expect={"nightflow.zero_point"}, posture=Posture.Reactive, threshold=1, within=timedelta(0)
            ),
            tell, "zero_point", "{{ event.payload['text'] }}",
        ),
    ]  # fmt: skip


def _template(text: str) -> dict[str, Any]:
    return {"template": text, "__prefect_kind": "jinja"}


_NUMBER = "flow_run.parameters.exposure_id | default('null')"
# Of a run that failed its message is enough: it comes from the ledger. JSON, for a template alone gives text.
_CRASHED = {
    "__prefect_kind": "json",
    "value": _template(f"{{{{ {_NUMBER} if flow_run.state.type == 'CRASHED' else 'null' }}}}"),
}
"""The number of a crashed run's exposure."""


def _automation(
    name: str,
    trigger: EventTrigger,
    tell: UUID,
    event: str,
    text: str,
    *,
    only_at_night: bool = False,
    if_failed: dict[str, Any] | None = None,
) -> AutomationCore:
    said: Any = _template(text) if "{{" in text else text
    parameters = {"event": event, "text": said, "only_at_night": only_at_night, "if_failed": if_failed}
    return AutomationCore(
        name=_PREFIX + name,
        description="Made by `nightflow deploy`, and made anew by it.",
        trigger=trigger,
        actions=[RunDeployment(source="selected", deployment_id=tell, parameters=parameters)],
    )
