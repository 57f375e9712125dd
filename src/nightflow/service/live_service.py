"""Lease, hand over, see to the end: the live service.

A sensor thread writes ledger rows; exposures are leased here and handed to a few warm worker processes, each
as a run where a server is there to show it and without one where not. A worker that dies is replaced and its
exposure tried again. Everything that must survive stands in the ledger, so that the service may die at any
moment: its successor frees the leases and goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nightflow.config import Settings
from nightflow.errors import NightflowError, RetryLater
from nightflow.sensor.sensor import Sensor
from nightflow.service.background import Housekeeping, give_signs_of_life, keep_house, lasting, stay_alone
from nightflow.service.collaborators import LiveWorker, Reload, Runs, Workers
from nightflow.service.deadline import Deadline
from nightflow.service.exposure_work import ExposureWork
from nightflow.service.heartbeat import heartbeat_file
from nightflow.service.instance_lock import InstanceLock
from nightflow.service.leases import service_tag, worker_name
from nightflow.service.outage import Outage
from nightflow.service.process import call_in_thread, cancelled, in_daemon_thread, taken_in_thread
from nightflow.service.sensing import places, start_sensor
from nightflow.service.turns import Turns
from nightflow.store.database import Database
from nightflow.store.leases import is_suspect, lease
from nightflow.store.models import Exposure
from nightflow.store.overview import queue_length

__all__ = ["LiveService"]

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How often the ledger is asked for work that nobody announced."""
STOP_SECONDS = 8.5
"""How long a stop may take in all, its parts together; the nursery's end, a second at most, comes on top."""
GRACE_SECONDS = 6.0
"""How long a stop waits for frames to finish before they are handed back."""
KILL_SECONDS = 1.5
"""How long it waits then for the end of their workers."""
LEAVE_SECONDS = 120.0
"""How long a worker that is to be replaced may write products; less at a stop."""
CONNECT_SECONDS = 10.0
"""How long the first frames wait for the Prefect server; then the night begins without it."""
LOOK_SECONDS = 0.1
"""How often it is looked whether the service shall stop."""
SENSOR_SECONDS = 5.0
"""How long the sensor may take to end."""
_STOPS = "its service stops"


class LiveService:
    """Sensor, workers and the server that shows them; see `nightflow.service.live.watch`.

    Parameters
    ----------
    settings : Settings
    database : Database
        The ledger; upgraded.
    reducer : Reducer
        Of the service itself: for plans and housekeeping.
    workers : Workers
        Makes the workers.
    runs : Runs, optional
        None where no server is to be used.
    stop : threading.Event
    until_idle : float, optional
        See `nightflow.service.live.watch`.
    housekeeping : sequence of callable, optional
        Each makes of a reducer what is done from time to time, in a thread of its own.
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
        workers: Workers,
        runs: Runs | None,
        stop: threading.Event,
        until_idle: float | None = None,
        housekeeping: Sequence[Housekeeping] = (),
        lock: InstanceLock | None = None,
        reload: Reload | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._runs = runs
        self._stop = stop
        self._until_idle = until_idle
        self._new_worker = workers
        self._housekeeping = housekeeping
        self._lock = lock
        self._reload = reload
        self._lease_name = worker_name()
        self._reducer = reducer
        self._store = Outage("the store")
        self._starting = Outage("a worker")
        self._leasing = asyncio.Lock()
        self._turns = Turns()
        self._alone = False
        self._workers: dict[int, asyncio.Task[None]] = {}
        self._generation = 0
        self._deadline = Deadline()
        self._work = ExposureWork(
            database,
            runs,
            lease_name=self._lease_name,
            deadline=self._deadline,
            follow_up=lambda exposure_id: self._reducer.follow_up(exposure_id),
        )
        self._looked_for = asyncio.Event()
        """Whether the server was there at the start is known."""
        self._wake = asyncio.Event()
        self._last_busy = time.monotonic()

    async def run(self) -> None:
        """Serve until stopped, then finish or hand back what is being reduced.

        Raises
        ------
        InstanceTaken
            Another service has taken the ledger meanwhile.
        """
        sensor, sensor_thread = await start_sensor(self._settings, self._database, self._stop, self._wake)
        alone = asyncio.create_task(stay_alone(self._lock, self._stop))
        background = [*(asyncio.create_task(one) for one in self._beside(sensor)), alone]
        try:
            await self._until_stopped(sensor)
        finally:
            self._stop.set()
            await self._wind_down(list(self._workers.values()), background)
            await call_in_thread(sensor_thread.join, self.patience(SENSOR_SECONDS))
        if alone.done() and not alone.cancelled():
            alone.result()
        log.info("stopped")

    def _beside(self, sensor: Sensor) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what is done beside the exposures until the service stops."""
        for one in self._housekeeping:
            yield keep_house(one, lambda: self._reducer)
        file = heartbeat_file(self._settings.file)
        ledger = service_tag(self._database.url)
        sign = partial(give_signs_of_life, file, sensor, lambda: len(self._work.reducing), ledger)
        yield lasting("signs of life", sign)
        yield lasting("the Prefect server's side", self._show_runs)

    def patience(self, seconds: float) -> float:
        """Return how long something may last, of so many seconds, before the service must have stopped."""
        return self._deadline.left(seconds)

    async def _until_stopped(self, sensor: Sensor) -> None:
        """Serve; when the service is to stop, nothing that is waited for holds it up."""
        serving = asyncio.create_task(self._serve_all(sensor))
        try:
            while not serving.done() and not self._stop.is_set():
                await asyncio.wait({serving}, timeout=LOOK_SECONDS)
        finally:
            serving.cancel()
            await asyncio.wait({serving}, timeout=KILL_SECONDS)
        if not serving.cancelled():
            serving.result()

    async def _serve_all(self, sensor: Sensor) -> None:
        await self._look_for_the_server()
        while not await self._idle(sensor):
            await self._mind_the_workers()
            await self._mind_the_settings(sensor)

    async def _look_for_the_server(self) -> None:
        """Give the server a moment to answer, so that the first frames are runs too."""
        try:
            await asyncio.wait_for(self._looked_for.wait(), CONNECT_SECONDS)
        except TimeoutError:
            log.warning(
                "the Prefect server did not answer in %.0f s; the night begins without it", CONNECT_SECONDS
            )

    async def _mind_the_workers(self) -> None:
        """Let as many workers work as there should be; a fault that ends one ends the service."""
        for number in range(self._settings.watch.workers):
            if number not in self._workers:
                self._workers[number] = asyncio.create_task(self._keep_working(number))
        done, _ = await asyncio.wait(self._workers.values(), timeout=POLL_SECONDS / 2)
        for number in [number for number, worker in self._workers.items() if worker in done]:
            self._workers.pop(number).result()

    async def _mind_the_settings(self, sensor: Sensor) -> None:
        """Take over new settings where somebody asked for it; wrong ones are told and change nothing."""
        if self._reload is None or not self._reload.asked.is_set():
            return
        self._reload.asked.clear()
        try:
            settings, reducer = await call_in_thread(self._reload, self._settings)
        except NightflowError as error:
            log.error("new settings not taken, the old ones stay: %s", error)
            return
        except Exception:  # the night goes on with what it has
            log.exception("new settings not taken, the old ones stay")
            return
        # What is in work goes on in its worker, with the reducer that it has there.
        self._settings, self._reducer = settings, reducer
        self._generation += 1
        if self._runs is not None:
            self._runs.use(reducer)
        sensor.look_at(await call_in_thread(places, settings))
        log.info("new settings taken")

    async def _show_runs(self) -> None:
        """Look for the server, at the start and whenever it is away."""
        if self._runs is None:
            self._looked_for.set()
            return
        try:
            await self._runs.connect()
        finally:
            self._looked_for.set()
        await self._runs.keep_connected()

    async def _keep_working(self, number: int) -> None:
        """Lease and reduce one exposure after the other, as long as so many workers are wanted."""
        worker: LiveWorker | None = None
        try:
            while self._wanted(number):
                if worker is None or not worker.alive:
                    generation, worker = self._generation, await self._started()
                elif worker.outgrown or generation != self._generation:
                    why = "its settings do not count any more"
                    if worker.outgrown:
                        log.info("a worker holds more memory than it may; it is replaced")
                        why = "it held more memory than it may"
                    await worker.leave(self.patience(LEAVE_SECONDS), why)
                    worker = None
                else:
                    await self._serve(number, worker, generation)
            if worker is not None:
                why = _STOPS if self._stop.is_set() else "fewer workers are wanted"
                await worker.leave(self.patience(LEAVE_SECONDS), why)
                worker = None
        finally:
            if worker is not None:
                await worker.leave(0, _STOPS)

    async def _started(self) -> LiveWorker | None:
        """Return a new worker; None, after a while, where it could not be started."""
        worker = self._new_worker(self._settings)
        try:
            await worker.start()
        except RetryLater as error:
            await self._nap(self._starting.failed(error))
            return None
        except asyncio.CancelledError:
            await worker.leave(0, _STOPS)
            raise
        self._starting.answered()
        return worker

    async def _serve(self, number: int, worker: LiveWorker, generation: int) -> None:
        """Give a worker the next exposure, or wait for one."""
        exposure = await self._lease(number)
        if exposure is None:
            await self._nap(POLL_SECONDS)
        elif generation != self._generation:  # new settings came meanwhile: it is the next worker's
            assert exposure.id is not None
            self._work.unsettled.add(exposure.id)
            self._work.reducing.discard(exposure.id)
        else:
            await self._work.reduce(
                worker,
                exposure,
                lease_seconds=self._settings.watch.lease_seconds,
                store_failed=self._wait_for_the_store,
            )

    async def _wait_for_the_store(self, error: NightflowError) -> None:
        await self._nap(self._store.failed(error))

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
                exposure: Exposure | None = None
                if self._wanted(number):
                    exposure = await taken_in_thread(self._lease_now, self._give_back)
                if exposure is not None:
                    self._take(exposure)
        except NightflowError as error:
            await self._wait_for_the_store(error)
            return None
        self._store.answered()
        return exposure

    def _take(self, exposure: Exposure) -> None:
        assert exposure.id is not None
        self._work.reducing.add(exposure.id)
        self._turns.taken(exposure)
        self._alone = is_suspect(exposure)
        if self._alone:
            log.warning(
                "%s: the service died %d times with it in work; now it is reduced alone",
                exposure.path,
                exposure.service_deaths,
            )

    def _lease_now(self) -> Exposure | None:
        if self._alone and self._work.reducing:
            return None
        self._work.release_unsettled()
        # All leases of this process bear one name: one that has ended, because the clock was set or the store
        # was away, must not be taken a second time while its exposure is in work; nor one that was queued
        # again as it was concluded, before the worker is done with it.
        seconds = self._settings.watch.lease_seconds
        now, in_work = _now(), set(self._work.reducing)
        return lease(
            self._database,
            self._lease_name,
            now=now,
            seconds=seconds,
            but=in_work | self._work.finishing,
            suspects=not in_work,
            patient=self._turns.patient(now),
            leave_batches=True,
        )

    def _give_back(self, exposure: Exposure) -> None:
        """Hand back what a stop came before, so that it does not stay with a process that ends."""
        assert exposure.id is not None
        try:
            self._work.release({exposure.id})
        except NightflowError as error:
            log.warning("%s: handed back at the next start: %s", exposure.path, error)

    async def _nap(self, seconds: float) -> None:
        """Wait for work, or for the service to be stopped, for so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def _idle(self, sensor: Sensor) -> bool:
        if self._until_idle is None:
            return False
        if await self._busy(sensor):
            self._last_busy = time.monotonic()
        # A listing in progress may find what nobody has seen yet; it does not make the service busy, else one
        # that lists slowly would never be idle.
        return time.monotonic() - self._last_busy >= self._until_idle and not sensor.listing

    async def _busy(self, sensor: Sensor) -> bool:
        if self._work.any or sensor.busy or self._store.lasts:
            return True
        try:
            return await call_in_thread(queue_length, self._database) > 0
        except NightflowError:  # the workers, who ask as often, say it
            return True

    async def _wind_down(
        self, workers: list[asyncio.Task[None]], background: list[asyncio.Task[None]]
    ) -> None:
        """Let the workers finish for a while; end them then, and hand back what they had in work."""
        self._deadline.set(STOP_SECONDS)
        self._wake.set()
        late = (await asyncio.wait(workers, timeout=GRACE_SECONDS))[1] if workers else set()
        in_work = self._work.reducing | self._work.unsettled
        # Only when they are gone: what is handed back must not be settled by them any more.
        await cancelled(list(late), self.patience(KILL_SECONDS))
        await asyncio.gather(
            self._hand_back(in_work),
            self._work.end_what_is_behind(),
            cancelled(background, self.patience(1.0)),
        )

    async def _hand_back(self, exposure_ids: set[int]) -> None:
        """Free what was in work, as far as the store answers in time."""
        try:
            await asyncio.wait_for(
                in_daemon_thread("hand back", partial(self._work.release, exposure_ids)), self.patience(60.0)
            )
        except NightflowError as error:
            log.warning("what was in work is handed back at the next start: %s", error)
        except TimeoutError:
            log.warning("what was in work is handed back at the next start: the store does not answer")


def _now() -> datetime:
    return datetime.now(UTC)
