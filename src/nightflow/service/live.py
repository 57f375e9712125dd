"""`nightflow watch`: one live service on one ledger."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from nightflow.config import Settings
from nightflow.errors import NightflowError
from nightflow.fits_output import remove_leftovers
from nightflow.heap import use_one_arena
from nightflow.pipeline.reducer import Reducer
from nightflow.sensor.answers import asked
from nightflow.service.alarms import Alarms
from nightflow.service.chores import frames_again, messages
from nightflow.service.collaborators import Runs
from nightflow.service.heartbeat import forget_beat, heartbeat_file
from nightflow.service.instance_lock import only_instance
from nightflow.service.leases import free_dead_leases, service_tag, worker_name
from nightflow.service.lessons import Lessons
from nightflow.service.live_service import LiveService
from nightflow.service.notify import Notifier
from nightflow.service.nursery import Nursery
from nightflow.service.prefect_environment import prepare_environment
from nightflow.service.process import run_in_thread, set_by_hangup, stopped_by_signals
from nightflow.service.reload import SettingsReload, live_reducer
from nightflow.service.told import Told, told_file
from nightflow.service.warm_up import warm_up
from nightflow.service.workbench import Execute, serve
from nightflow.service.worker import Worker
from nightflow.store.database import Database
from nightflow.store.models import State
from nightflow.store.overview import counts, done_last, get_exposure

__all__ = ["watch"]

log = logging.getLogger(__name__)

_FOLLOWED_AGAIN = 32
"""Exposures that were done last: more than all workers had in work as they died."""
NOTIFY_SECONDS = 5.0
"""How long messages that wait may take to be sent at the end; less where a stop has taken long."""
COUNT_SECONDS = 5.0
"""How long the store may take to count exposures at the end; less where a stop has taken long."""


def watch(
    settings: Settings,
    *,
    until_idle: float | None = None,
    stop: threading.Event | None = None,
    load: Callable[[], Settings] | None = None,
) -> dict[State, int]:
    """Reduce what lands in the watched folders until told to stop.

    Parameters
    ----------
    settings : Settings
        Sections ``watch``, ``prefect``, ``store`` and ``paths``.
    until_idle : float, optional
        Stop by itself when nothing was landing, queued or reduced for so many seconds.
    stop : threading.Event, optional
        Stops the service when set, as SIGTERM and SIGINT do.
    load : callable, optional
        Reads the settings anew on SIGHUP; what it raises is told, and the old ones stay. Else those that were
        given are made the most of again: camera profiles are read anew.

    Returns
    -------
    dict
        Exposures in each state at the end; empty where the store does not answer then.

    Raises
    ------
    ConfigurationError
        Another service works on this ledger, or the store cannot be used.
    """
    stop = stop or threading.Event()
    use_one_arena()
    prepare_environment(settings.prefect)
    execution = _execution(settings)
    # Before anything else: it is forked, and must find neither threads nor connections nor locks.
    with Nursery(lambda connection: serve(connection, execution), warm_up) as nursery:
        return _watch(settings, nursery, until_idle, stop, SettingsReload(load or (lambda: settings)))


def _watch(
    settings: Settings,
    nursery: Nursery,
    until_idle: float | None,
    stop: threading.Event,
    reload: SettingsReload,
) -> dict[State, int]:
    database = Database(settings.store_url)
    database.upgrade()
    signals = stopped_by_signals(stop), set_by_hangup(reload.asked)
    lessons = Lessons()
    with database, only_instance(database) as lock, signals[0], signals[1]:
        folders = ", ".join(str(settings.resolve(folder)) for folder in settings.watch.folders)
        log.info("watching %s; ledger %s", folders, database.shown)
        ended = _inherit(settings, database)
        reducer = live_reducer(settings)
        runs = _prefect_runs(settings, reducer)
        notifier = Notifier(settings.notify, told=Told(told_file(settings.file)))
        alarms = Alarms(settings, database, _teller(notifier, runs), datetime.now(UTC))
        service = LiveService(
            settings,
            database=database,
            reducer=reducer,
            workers=lambda settings: Worker(nursery, settings, worker_name(), lessons),
            runs=runs,
            stop=stop,
            until_idle=until_idle,
            housekeeping=[partial(messages, alarms, notifier), partial(frames_again, ended)],
            lock=lock,
            reload=reload,
        )
        try:
            run_in_thread(service.run)
        finally:
            notifier.close(service.patience(NOTIFY_SECONDS))
        return _last_counts(database, service.patience(COUNT_SECONDS))


def _last_counts(database: Database, seconds: float) -> dict[State, int]:
    """Return exposures in each state; none, and that is told, where the store does not answer in time."""
    try:
        return asked(partial(counts, database), "counts").result(seconds)
    except NightflowError as error:
        log.warning("exposures are not counted: %s", error)
    except TimeoutError:
        log.warning("exposures are not counted: %s does not answer", database.shown)
    return {}


def _teller(notifier: Notifier, runs: Runs | None) -> Callable[[str, str], None]:
    def tell(event: str, text: str) -> None:
        notifier.tell(event, text)
        if runs is not None:
            runs.announce(event, text)

    return tell


def _execution(settings: Settings) -> Callable[[Reducer], Execute] | None:
    """Return what makes of a reducer the executor of runs; it is imported here for all workers."""
    if not settings.prefect.enabled:
        return None
    # Imported here: Prefect takes two seconds to import and reads its environment then.
    from nightflow.service.prefect_runs import RunExecutor, load_flows

    load_flows()
    return RunExecutor


def _inherit(settings: Settings, database: Database) -> list[int]:
    """Take over what a service that died had in work, and remove what it had half written.

    Returns
    -------
    list of int
        Exposures that it, or a run that died, may have settled without what follows from it.
    """
    now = datetime.now(UTC)
    forget_beat(heartbeat_file(settings.file))
    for folder in (settings.paths.products, settings.paths.masters):
        # Nobody waits for it: the disk may be away, and the frames need not be.
        remove = partial(_remove_leftovers, settings.resolve(folder), now)
        threading.Thread(target=remove, name="leftovers", daemon=True).start()
    left = free_dead_leases(database, now)
    if left.queued:
        log.info("%d exposures were left by a service that died; they are queued again", len(left.queued))
    for exposure_id in left.failed:
        exposure = get_exposure(database, exposure_id)
        log.error("exposure %d failed: %s", exposure_id, exposure.reason if exposure else "")
    return done_last(database, _FOLLOWED_AGAIN)


def _remove_leftovers(folder: Path, now: datetime) -> None:
    try:
        remove_leftovers(folder, now)
    except OSError as error:
        log.warning("half-written files stay in %s: %s", folder, error)


def _prefect_runs(settings: Settings, reducer: Reducer) -> Runs | None:
    if not settings.prefect.enabled:
        return None
    from nightflow.service.prefect_runs import PrefectRuns

    return PrefectRuns(
        reducer,
        identity=service_tag(settings.store_url),
        probe_seconds=settings.prefect.probe_seconds,
    )
