"""Lease, reduce, conclude: the workers of the live service.

A sensor thread writes ledger rows; a few workers lease exposures and reduce them, each as a run where a
server is there to show it and without one where not. Everything that must survive stands in the ledger, so
that the service may die at any moment: its successor frees the leases and goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from nightflow.config import Settings
from nightflow.errors import NightflowError
from nightflow.pipeline.reduce_exposure import reduce_exposure
from nightflow.pipeline.reducer import Outcome
from nightflow.sensor.register import LedgerRegistrar
from nightflow.sensor.sensor import Places, Sensor
from nightflow.service.frame_log import log_exposure
from nightflow.service.heartbeat import beat, heartbeat_file
from nightflow.service.instance_lock import InstanceLock, InstanceTaken
from nightflow.service.leases import note_run, worker_name
from nightflow.service.outage import Outage
from nightflow.store.database import Database
from nightflow.store.leases import is_suspect, lease, release, renew
from nightflow.store.ledger import TERMINAL
from nightflow.store.models import Exposure, State
from nightflow.store.overview import get_exposure, queue_length

__all__ = ["LiveService", "Runs"]

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How often the ledger is asked for work that nobody announced."""
GRACE_SECONDS = 8.0
"""How long a stop waits for frames to finish before they are handed back."""
CONNECT_SECONDS = 15.0
"""How long the start waits for the Prefect server; then the night begins without it."""
LOCK_SECONDS = 10.0
"""How often the service looks whether it is the ledger's only one still."""
BEAT_SECONDS = 5.0
"""How often the service gives a sign of life."""
HOUSEKEEPING_SECONDS = 60.0
"""How often nights that are over are looked at for better masters."""


class Runs(Protocol):
    """Shows exposures as runs of a workflow server."""

    async def connect(self) -> bool:
        """Look for the server and prepare it; return whether it is there."""

    async def keep_connected(self) -> None:
        """Look for the server from time to time while it is away; never ends."""

    async def reduce(self, exposure: Exposure) -> str | None:
        """Reduce an exposure as a run; return the run's id, None where the server is away."""

    def remember(self, outcome: Outcome) -> None:
        """Take note of an exposure that was reduced without the server."""

    def use(self, reducer: Any) -> None:
        """Let the runs that begin from now on do their work with this reducer."""


class Reload(Protocol):
    """Gives the settings as they are now; see `LiveService`."""

    @property
    def asked(self) -> threading.Event:
        """Set when somebody wants them."""

    def __call__(self, settings: Settings) -> tuple[Settings, Any]:
        """Return settings and reducer that take the place of ``settings``; nothing is in work meanwhile.

        Raises
        ------
        NightflowError
            They are wrong: those that there are stay.
        """


class LiveService:
    """Sensor, workers and the server that shows them; see `nightflow.service.live.watch`.

    Parameters
    ----------
    settings : Settings
    database : Database
        The ledger; upgraded.
    reducer : Reducer
    runs : Runs, optional
        None where no server is to be used.
    stop : threading.Event
    until_idle : float, optional
        See `nightflow.service.live.watch`.
    reduce_directly : callable
        Reduces an exposure without the server.
    housekeeping : callable, optional
        Makes of a reducer what is called with the time, now and then.
    lock : InstanceLock, optional
        Of the ledger; the service stops where another one has taken it.
    reload : Reload, optional
        Where the settings come from while the service runs.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        reducer: Any,
        runs: Runs | None,
        stop: threading.Event,
        until_idle: float | None = None,
        reduce_directly: Callable[[Any, int, str], Outcome] = reduce_exposure,
        housekeeping: Callable[[Any], Callable[[datetime], object]] | None = None,
        lock: InstanceLock | None = None,
        reload: Reload | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._runs = runs
        self._stop = stop
        self._until_idle = until_idle
        self._reduce_directly = reduce_directly
        self._housekeeping = housekeeping
        self._lock = lock
        self._reload = reload
        self._worker = worker_name()
        self._reducer = reducer
        self._store = Outage("the store")
        self._reducing: set[int] = set()
        self._unsettled: set[int] = set()
        self._leasing = asyncio.Lock()
        self._alone = False
        self._workers: dict[int, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._last_busy = time.monotonic()

    async def run(self) -> None:
        """Serve until stopped, then finish or hand back what is being reduced.

        Raises
        ------
        InstanceTaken
            Another service has taken the ledger meanwhile.
        """
        sensor, sensor_thread = self._start_sensor()
        alone = asyncio.create_task(self._stay_alone())
        beating = asyncio.create_task(self._beat(sensor))
        background = [*await self._start_runs(), asyncio.create_task(self._keep_house()), alone, beating]
        try:
            while not self._stop.is_set() and not await self._idle(sensor):
                await self._mind_the_workers()
                await self._mind_the_settings(sensor)
        finally:
            self._stop.set()
            await self._wind_down(list(self._workers.values()))
            await _cancelled(background)
            await asyncio.to_thread(sensor_thread.join, 5)
        if not alone.cancelled():
            alone.result()
        log.info("stopped")

    async def _mind_the_workers(self) -> None:
        """Let as many workers work as there should be; a fault that ends one ends the service."""
        for number in range(self._settings.watch.workers):
            if number not in self._workers:
                self._workers[number] = asyncio.create_task(self._work(number))
        done, _ = await asyncio.wait(self._workers.values(), timeout=POLL_SECONDS / 2)
        for number in [number for number, worker in self._workers.items() if worker in done]:
            self._workers.pop(number).result()

    async def _mind_the_settings(self, sensor: Sensor) -> None:
        """Take over new settings where somebody asked for it; wrong ones are told and change nothing."""
        if self._reload is None or not self._reload.asked.is_set():
            return
        self._reload.asked.clear()
        async with self._leasing:
            # Pixels of an exposure that is in work live in the old reducer.
            while self._reducing and not self._stop.is_set():
                await asyncio.sleep(POLL_SECONDS / 10)
            if self._stop.is_set():
                return
            try:
                settings, reducer = await asyncio.to_thread(self._reload, self._settings)
            except NightflowError as error:
                log.error("new settings not taken, the old ones stay: %s", error)
                return
            except Exception:  # the night goes on with what it has
                log.exception("new settings not taken, the old ones stay")
                return
            self._settings, self._reducer = settings, reducer
            if self._runs is not None:
                self._runs.use(reducer)
        sensor.look_at(_places(settings))
        log.info("new settings taken")

    def _start_sensor(self) -> tuple[Sensor, threading.Thread]:
        loop = asyncio.get_running_loop()
        registrar = LedgerRegistrar(
            self._database, now=_now, on_received=lambda: _call_soon(loop, self._wake.set)
        )
        sensor = Sensor(_places(self._settings), registrar=registrar)
        thread = threading.Thread(target=sensor.run, args=(self._stop,), name="sensor", daemon=True)
        thread.start()
        return sensor, thread

    async def _start_runs(self) -> list[asyncio.Task[None]]:
        if self._runs is None:
            return []
        try:
            await asyncio.wait_for(self._runs.connect(), CONNECT_SECONDS)
        except TimeoutError:
            log.warning(
                "the Prefect server did not answer in %.0f s; the night begins without it", CONNECT_SECONDS
            )
        return [asyncio.create_task(self._runs.keep_connected())]

    async def _stay_alone(self) -> None:
        """Look after the lock; stop the service where another one has it."""
        while self._lock is not None:
            await asyncio.sleep(LOCK_SECONDS)
            try:
                await asyncio.to_thread(self._lock.keep)
            except InstanceTaken:
                self._stop.set()
                raise
            except NightflowError as error:  # the workers say it
                log.debug("the lock of this service cannot be looked at: %s", error)

    async def _beat(self, sensor: Sensor) -> None:
        """Give signs of life, as long as there is life."""
        file = heartbeat_file(self._settings.root)
        try:
            while True:
                unreadable = list(sensor.unreadable.values())
                await asyncio.to_thread(
                    beat,
                    file,
                    now=_now(),
                    in_work=len(self._reducing),
                    landing=sensor.waiting,
                    unreadable=unreadable,
                )
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)

    async def _keep_house(self) -> None:
        """Do from time to time what no arrival brings about; what goes wrong there is tried again."""
        if self._housekeeping is None:
            return
        reducer, housekeeping = self._reducer, self._housekeeping(self._reducer)
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            if reducer is not self._reducer:
                reducer, housekeeping = self._reducer, self._housekeeping(self._reducer)
            try:
                await asyncio.to_thread(housekeeping, _now())
            except NightflowError as error:
                log.warning("housekeeping put off: %s", error)
            except Exception:  # the night goes on whatever is wrong with it
                log.exception("housekeeping failed; it is tried again")

    async def _work(self, number: int) -> None:
        """Lease and reduce one exposure after the other, as long as so many workers are wanted."""
        while self._wanted(number):
            exposure = await self._lease(number)
            if exposure is None:
                await self._nap(POLL_SECONDS)
            else:
                await self._reduce(exposure)

    def _wanted(self, number: int) -> bool:
        return not self._stop.is_set() and number < self._settings.watch.workers

    async def _lease(self, number: int) -> Exposure | None:
        """Return the next exposure, None where there is none.

        A store that fails now was in order when the service started: a disk that was unmounted or a server
        that is restarted, so that it is waited for, whatever it complains of.
        """
        try:
            # One after the other, so that each knows what the others have.
            async with self._leasing:
                exposure = await asyncio.to_thread(self._lease_now) if self._wanted(number) else None
                if exposure is not None:
                    self._take(exposure)
        except NightflowError as error:
            await self._nap(self._store.failed(error))
            return None
        self._store.answered()
        return exposure

    def _take(self, exposure: Exposure) -> None:
        assert exposure.id is not None
        self._reducing.add(exposure.id)
        self._alone = is_suspect(exposure)
        if self._alone:
            log.warning(
                "%s: the service died %d times with it in work; now it is reduced alone",
                exposure.path,
                exposure.attempts,
            )

    def _lease_now(self) -> Exposure | None:
        if self._alone and self._reducing:
            return None
        for exposure_id in list(self._unsettled):
            release(self._database, exposure_id, self._worker)
            self._unsettled.discard(exposure_id)
        # All leases of this process bear one name: one that has ended, because the clock was set or the store
        # was away, must not be taken a second time while its exposure is in work.
        seconds = self._settings.watch.lease_seconds
        in_work = set(self._reducing)
        return lease(
            self._database, self._worker, now=_now(), seconds=seconds, but=in_work, suspects=not in_work
        )

    async def _nap(self, seconds: float) -> None:
        """Wait for work, or for the service to be stopped, for so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def _reduce(self, exposure: Exposure) -> None:
        """Reduce a leased exposure; nothing that goes wrong with it ends the worker."""
        assert exposure.id is not None
        started = time.monotonic()
        renewal = asyncio.create_task(self._keep_lease(exposure.id))
        try:
            await self._to_its_end(exposure, exposure.id)
            await asyncio.to_thread(log_exposure, self._database, exposure.id, time.monotonic() - started)
        except NightflowError as error:  # the store: handed back as soon as it answers
            self._unsettled.add(exposure.id)
            await self._nap(self._store.failed(error))
        except Exception:  # its lease runs out and it is taken up again; the others go on
            log.exception("%s: not concluded, it is taken up again when its lease ends", exposure.path)
        finally:
            self._reducing.discard(exposure.id)
            await _cancelled([renewal])

    async def _to_its_end(self, exposure: Exposure, exposure_id: int) -> None:
        run_id = await self._as_a_run(exposure)
        if run_id is not None:
            await asyncio.to_thread(note_run, self._database, exposure_id, run_id)
        if not await asyncio.to_thread(self._is_mine, exposure_id):
            return
        # No server, or it vanished before the flow began: the same functions without it.
        outcome = await asyncio.to_thread(self._reduce_directly, self._reducer, exposure_id, self._worker)
        if self._runs is not None and outcome.state != "lost":
            self._runs.remember(outcome)

    async def _as_a_run(self, exposure: Exposure) -> str | None:
        """Reduce an exposure as a run, if there is a server; showing it never decides about it."""
        if self._runs is None:
            return None
        try:
            return await self._runs.reduce(exposure)
        except Exception:  # whatever is wrong there, the exposure is reduced without it
            log.exception("%s: not shown as a run", exposure.path)
            return None

    def _is_mine(self, exposure_id: int) -> bool:
        exposure = get_exposure(self._database, exposure_id)
        return (
            exposure is not None and exposure.state == State.REDUCING and exposure.leased_by == self._worker
        )

    async def _keep_lease(self, exposure_id: int) -> None:
        seconds = self._settings.watch.lease_seconds
        while True:
            await asyncio.sleep(seconds / 3)
            try:
                held = await asyncio.to_thread(
                    renew, self._database, exposure_id, self._worker, now=_now(), seconds=seconds
                )
                if not held:
                    await self._say_lost(exposure_id)
                    return
            except NightflowError as error:
                log.warning("lease of exposure %d not renewed: %s", exposure_id, error)

    async def _say_lost(self, exposure_id: int) -> None:
        """Warn that an exposure was taken over; one that has just been settled holds no lease either."""
        exposure = await asyncio.to_thread(get_exposure, self._database, exposure_id)
        if exposure is not None and exposure.state not in TERMINAL:
            taken_by = exposure.leased_by or "nobody"
            log.warning(
                "exposure %d: lease lost, held by %s now; it is not settled here", exposure_id, taken_by
            )

    async def _idle(self, sensor: Sensor) -> bool:
        if self._until_idle is None:
            return False
        if await self._busy(sensor):
            self._last_busy = time.monotonic()
        return time.monotonic() - self._last_busy >= self._until_idle

    async def _busy(self, sensor: Sensor) -> bool:
        if self._reducing or sensor.waiting > 0 or self._store.lasts:
            return True
        try:
            return await asyncio.to_thread(queue_length, self._database) > 0
        except NightflowError:  # the workers, who ask as often, say it
            return True

    async def _wind_down(self, workers: list[asyncio.Task[None]]) -> None:
        self._wake.set()
        late = (await asyncio.wait(workers, timeout=GRACE_SECONDS))[1] if workers else set()
        try:
            for exposure_id in self._reducing | self._unsettled:
                if await asyncio.to_thread(release, self._database, exposure_id, self._worker):
                    log.info("exposure %d: handed back unfinished", exposure_id)
        except NightflowError as error:
            log.warning("what was in work is handed back at the next start: %s", error)
        await _cancelled(list(late))


def _places(settings: Settings) -> Places:
    paths = settings.paths
    excluded = (paths.masters, paths.products, paths.catalogs, paths.index_files)
    return Places(
        folders=tuple(settings.resolve(folder).resolve() for folder in settings.watch.folders),
        excluded=tuple(settings.resolve(folder).resolve() for folder in excluded),
        settle_seconds=settings.watch.settle_seconds,
        sweep_seconds=settings.watch.sweep_seconds,
    )


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are gone, but not for long."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=2)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the service has stopped
        loop.call_soon_threadsafe(callback)


def _now() -> datetime:
    return datetime.now(UTC)
