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
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nightflow.config import Settings
from nightflow.errors import NightflowError, RetryLater
from nightflow.sensor.places import Places, real_folder
from nightflow.sensor.register import LedgerRegistrar
from nightflow.sensor.sensor import Sensor
from nightflow.service.collaborators import LiveWorker, Reload, Runs, Workers
from nightflow.service.deadline import Deadline
from nightflow.service.frame_log import log_exposure
from nightflow.service.heartbeat import beat, heartbeat_file
from nightflow.service.instance_lock import InstanceLock, InstanceTaken
from nightflow.service.leases import count_death, note_run, worker_name
from nightflow.service.messages import BegunRun, Ended, RunFault
from nightflow.service.outage import Outage
from nightflow.service.process import call_in_thread, in_daemon_thread
from nightflow.service.turns import Turns
from nightflow.service.worker import Reduced, WorkerDied
from nightflow.store.database import Database
from nightflow.store.frames import add_warning
from nightflow.store.leases import is_suspect, lease, release, renew
from nightflow.store.ledger import TERMINAL
from nightflow.store.models import Exposure
from nightflow.store.overview import get_exposure, queue_length

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
CONNECT_SECONDS = 5.0
"""How long the first frames wait for the Prefect server; then the night begins without it."""
LOOK_SECONDS = 0.1
"""How often it is looked whether the service shall stop."""
SENSOR_SECONDS = 5.0
"""How long the sensor may take to end."""
LOCK_SECONDS = 10.0
"""How often the service looks whether it is the ledger's only one still."""
BEAT_SECONDS = 5.0
"""How often the service gives a sign of life."""
HOUSEKEEPING_SECONDS = 60.0
"""How often nights that are over are looked at for better masters."""


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
        workers: Workers,
        runs: Runs | None,
        stop: threading.Event,
        until_idle: float | None = None,
        housekeeping: Callable[[Any], Callable[[datetime], object]] | None = None,
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
        self._reducing: set[int] = set()
        self._finishing: set[int] = set()
        """Settled, with products or a run that are not at their end."""
        self._unsettled: set[int] = set()
        self._leasing = asyncio.Lock()
        self._turns = Turns()
        self._alone = False
        self._workers: dict[int, asyncio.Task[None]] = {}
        self._behind: set[asyncio.Task[None]] = set()
        self._generation = 0
        self._deadline = Deadline()
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
        sensor, sensor_thread = self._start_sensor()
        alone = asyncio.create_task(self._stay_alone())
        beside = (self._keep_house(), self._show_runs(), self._beat(sensor))
        background = [*(asyncio.create_task(one) for one in beside), alone]
        try:
            await self._until_stopped(sensor)
        finally:
            self._stop.set()
            await self._wind_down(list(self._workers.values()), background)
            await call_in_thread(sensor_thread.join, self.patience(SENSOR_SECONDS))
        if alone.done() and not alone.cancelled():
            alone.result()
        log.info("stopped")

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
                self._workers[number] = asyncio.create_task(self._work(number))
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

    async def _stay_alone(self) -> None:
        """Look after the lock; stop the service where another one has it."""
        while self._lock is not None:
            await asyncio.sleep(LOCK_SECONDS)
            try:
                await call_in_thread(self._lock.keep)
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
                await call_in_thread(
                    beat,
                    file,
                    now=_now(),
                    in_work=len(self._reducing),
                    landing=sensor.waiting,
                    unreadable=unreadable,
                    hanging={str(folder): seconds for folder, seconds in sensor.hanging.items()},
                )
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)

    async def _keep_house(self) -> None:
        """Do from time to time what no arrival brings about; what goes wrong there is tried again."""
        if self._housekeeping is None:
            return
        reducer, keep = None, None
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                if keep is None or reducer is not self._reducer:
                    keep, reducer = self._housekeeping(self._reducer), self._reducer
                await in_daemon_thread("housekeeping", partial(keep, _now()))
            except NightflowError as error:
                log.warning("housekeeping put off: %s", error)
            except Exception:  # the night goes on whatever is wrong with it
                log.exception("housekeeping failed; it is tried again")

    async def _work(self, number: int) -> None:
        """Lease and reduce one exposure after the other, as long as so many workers are wanted."""
        worker: LiveWorker | None = None
        try:
            while self._wanted(number):
                if worker is None or not worker.alive:
                    generation, worker = self._generation, await self._started()
                elif worker.outgrown or generation != self._generation:
                    if worker.outgrown:
                        log.info("a worker holds more memory than it may; it is replaced")
                    await worker.leave(self.patience(LEAVE_SECONDS))
                    worker = None
                else:
                    await self._serve(number, worker, generation)
            if worker is not None:
                await worker.leave(self.patience(LEAVE_SECONDS))
                worker = None
        finally:
            if worker is not None:
                await worker.leave(0)

    async def _started(self) -> LiveWorker | None:
        """Return a new worker; None, after a while, where it could not be started."""
        worker = self._new_worker(self._settings)
        try:
            await worker.start()
        except RetryLater as error:
            await self._nap(self._starting.failed(error))
            return None
        except asyncio.CancelledError:
            await worker.leave(0)
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
            self._unsettled.add(exposure.id)
            self._reducing.discard(exposure.id)
        else:
            await self._reduce(worker, exposure)

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
                exposure = await call_in_thread(self._lease_now) if self._wanted(number) else None
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
        self._turns.taken(exposure)
        self._alone = is_suspect(exposure)
        if self._alone:
            log.warning(
                "%s: the service died %d times with it in work; now it is reduced alone",
                exposure.path,
                exposure.service_deaths,
            )

    def _lease_now(self) -> Exposure | None:
        if self._alone and self._reducing:
            return None
        for exposure_id in list(self._unsettled):
            release(self._database, exposure_id, self._lease_name)
            self._unsettled.discard(exposure_id)
        # All leases of this process bear one name: one that has ended, because the clock was set or the store
        # was away, must not be taken a second time while its exposure is in work; nor one that was queued
        # again as it was concluded, before the worker is done with it.
        seconds = self._settings.watch.lease_seconds
        now, in_work = _now(), set(self._reducing)
        return lease(
            self._database,
            self._lease_name,
            now=now,
            seconds=seconds,
            but=in_work | self._finishing,
            suspects=not in_work,
            patient=self._turns.patient(now),
            leave_batches=True,
        )

    async def _nap(self, seconds: float) -> None:
        """Wait for work, or for the service to be stopped, for so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def _reduce(self, worker: LiveWorker, exposure: Exposure) -> None:
        """Reduce a leased exposure; nothing that goes wrong with it ends the service."""
        assert exposure.id is not None
        started = time.monotonic()
        renewal = asyncio.create_task(self._keep_lease(exposure.id))
        try:
            taken = await self._to_its_end(worker, exposure, exposure.id)
            seconds = time.monotonic() - started
            await call_in_thread(log_exposure, self._database, exposure.id, seconds, taken)
        except NightflowError as error:  # the store: handed back as soon as it answers
            self._unsettled.add(exposure.id)
            await self._nap(self._store.failed(error))
        except Exception:  # its lease runs out and it is taken up again; the others go on
            log.exception("%s: not concluded, it is taken up again when its lease ends", exposure.path)
        finally:
            self._reducing.discard(exposure.id)
            await _cancelled([renewal], self.patience(2.0))

    async def _to_its_end(
        self, worker: LiveWorker, exposure: Exposure, exposure_id: int
    ) -> dict[tuple[str, int], float]:
        """Let a worker reduce an exposure until it is settled; what is left is done behind.

        Returns
        -------
        dict
            How long each step took, by step and row.
        """
        run = await self._run_of(exposure)
        noted = self._do_behind(self._note_run(exposure, exposure_id, run))
        try:
            reduced = await worker.reduce(exposure_id, exposure.path, run)
        except WorkerDied as died:
            self._do_behind(self._end_run(run, RunFault(away=False, message=str(died))))
            await call_in_thread(self._count_death, exposure, exposure_id, died)
            return {}
        except asyncio.CancelledError:
            self._do_behind(self._end_run(run, RunFault(away=False, message="its service stopped")))
            raise
        if reduced.outcome is None:
            ended = await reduced.rest
            if ended.error:
                # Open, it would count as going on, and not be closed when the server is back either.
                self._do_behind(self._end_run(run, ended.fault))
                raise RetryLater(ended.error) if ended.store else RuntimeError(ended.error)
        self._finishing.add(exposure_id)
        self._do_behind(self._see_to_the_rest(exposure, exposure_id, run, reduced, noted))
        return reduced.taken

    async def _run_of(self, exposure: Exposure) -> BegunRun | None:
        """Return the run of an exposure, if there is a server; showing it never decides about it."""
        if self._runs is None:
            return None
        try:
            return await self._runs.begin(exposure)
        except Exception:  # whatever is wrong there, the exposure is reduced without it
            log.exception("%s: not shown as a run", exposure.path)
            return None

    async def _end_run(self, run: BegunRun | None, fault: RunFault | None) -> None:
        if self._runs is not None and run is not None:
            try:
                await self._runs.end(run, fault)
            except Exception:
                log.exception("run %s: not closed", run.id)

    def _count_death(self, exposure: Exposure, exposure_id: int, died: WorkerDied) -> None:
        """Write down that a worker died with an exposure in work, which is tried again."""
        if not died.guilty:
            release(self._database, exposure_id, self._lease_name)
            log.warning("%s: handed back, its worker is gone: %s", exposure.path, died)
            return
        state = count_death(self._database, exposure_id, self._lease_name, str(died), _now())
        if state is None:
            log.warning("%s was settled, or taken over, before its worker died in %s", exposure.path, died)
        else:
            log.error("%s: died in %s; the exposure is %s now", exposure.path, died, state)

    def _do_behind(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        return task

    async def _note_run(self, exposure: Exposure, exposure_id: int, run: BegunRun | None) -> None:
        """Write down which run shows an exposure, or that none does."""
        try:
            if run is not None:
                await call_in_thread(note_run, self._database, exposure_id, run.id)
            elif self._runs is not None:
                await self._runs.remember(exposure_id)
        except NightflowError as error:
            log.warning("%s: the ledger does not know which run shows it: %s", exposure.path, error)

    async def _see_to_the_rest(
        self,
        exposure: Exposure,
        exposure_id: int,
        run: BegunRun | None,
        reduced: Reduced,
        noted: asyncio.Task[None],
    ) -> None:
        """Take note of how the products of a settled exposure, and its run, ended."""
        try:
            ended: Ended = await reduced.rest
        except WorkerDied as died:
            await self._end_run(run, RunFault(away=False, message=str(died)))
            warning = f"products not written: {died}"
            for frame_id in died.unwritten:
                log.warning("%s: %s", exposure.path, warning)
                await self._warn(frame_id, warning)
            return
        finally:
            self._finishing.discard(exposure_id)
        if run is not None and ended.direct is not None:  # its run ended before it did
            await asyncio.wait({noted})
            await self._note_run(exposure, exposure_id, None)
        await self._end_run(run, ended.fault)
        if ended.error and reduced.outcome is not None:
            log.warning("%s: settled, but then: %s", exposure.path, ended.error)

    async def _warn(self, frame_id: int, warning: str) -> None:
        try:
            await call_in_thread(add_warning, self._database, frame_id, warning)
        except NightflowError as error:
            log.warning("frame %d: the ledger could not be told: %s", frame_id, error)

    async def _keep_lease(self, exposure_id: int) -> None:
        seconds = self._settings.watch.lease_seconds
        while True:
            await asyncio.sleep(seconds / 3)
            try:
                held = await call_in_thread(
                    renew, self._database, exposure_id, self._lease_name, now=_now(), seconds=seconds
                )
                if not held:
                    await self._say_lost(exposure_id)
                    return
            except NightflowError as error:
                log.warning("lease of exposure %d not renewed: %s", exposure_id, error)

    async def _say_lost(self, exposure_id: int) -> None:
        """Warn that an exposure was taken over; one that has just been settled holds no lease either."""
        exposure = await call_in_thread(get_exposure, self._database, exposure_id)
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
        if self._reducing or self._unsettled or self._behind or sensor.waiting > 0 or self._store.lasts:
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
        in_work = self._reducing | self._unsettled
        # Only when they are gone: what is handed back must not be settled by them any more.
        await _cancelled(list(late), self.patience(KILL_SECONDS))
        await asyncio.gather(
            self._hand_back(in_work), self._end_what_is_behind(), _cancelled(background, self.patience(1.0))
        )

    async def _hand_back(self, exposure_ids: set[int]) -> None:
        """Free what was in work, as far as the store answers in time."""
        try:
            await asyncio.wait_for(
                in_daemon_thread("hand back", partial(self._release_all, exposure_ids)), self.patience(60.0)
            )
        except NightflowError as error:
            log.warning("what was in work is handed back at the next start: %s", error)
        except TimeoutError:
            log.warning("what was in work is handed back at the next start: the store does not answer")

    def _release_all(self, exposure_ids: set[int]) -> None:
        for exposure_id in exposure_ids:
            if release(self._database, exposure_id, self._lease_name):
                log.info("exposure %d: handed back unfinished", exposure_id)

    async def _end_what_is_behind(self) -> None:
        if self._behind:
            await asyncio.wait(self._behind, timeout=self.patience(1.0) / 2)
        await _cancelled(list(self._behind), self.patience(1.0))


def _places(settings: Settings) -> Places:
    paths = settings.paths
    excluded = (paths.masters, paths.products, paths.catalogs, paths.index_files)
    return Places(
        folders=tuple(real_folder(settings.resolve(folder)) for folder in settings.watch.folders),
        excluded=tuple(real_folder(settings.resolve(folder)) for folder in excluded),
        settle_seconds=settings.watch.settle_seconds,
        sweep_seconds=settings.watch.sweep_seconds,
        polling=settings.watch.polling,
        poll_seconds=settings.watch.poll_seconds,
        max_pixels=settings.max_pixels,
    )


async def _cancelled(tasks: list[asyncio.Task[None]], seconds: float) -> None:
    """Cancel tasks and wait until they are gone, but not for longer than so."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the service has stopped
        loop.call_soon_threadsafe(callback)


def _now() -> datetime:
    return datetime.now(UTC)
