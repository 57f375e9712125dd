"""One leased exposure, from its hand-over to a worker until its products and its run are at their end.

Nothing that goes wrong with one ends the service. What is settled stands in the ledger.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nightflow.errors import NightflowError, RetryLater
from nightflow.service.collaborators import LiveWorker, Runs
from nightflow.service.deadline import Deadline
from nightflow.service.frame_log import log_exposure
from nightflow.service.leases import note_run
from nightflow.service.messages import BegunRun, RunFault
from nightflow.service.pace import Pace
from nightflow.service.process import call_in_thread, cancelled
from nightflow.service.worker import Reduced, WorkerDied
from nightflow.store.database import Database
from nightflow.store.deaths import count_death
from nightflow.store.frames import add_warning
from nightflow.store.leases import release, renew
from nightflow.store.ledger import TERMINAL
from nightflow.store.models import Exposure, Priority
from nightflow.store.overview import get_exposure

__all__ = ["ExposureWork"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Given:
    """An exposure that was given to a worker.

    Attributes
    ----------
    run : BegunRun or None
        That shows it.
    noted : asyncio.Task
        Writes that into the ledger.
    """

    id: int
    path: str
    run: BegunRun | None
    noted: asyncio.Task[None]


class ExposureWork:
    """What a service has in work, and how it is brought to its end.

    Parameters
    ----------
    database : Database
    runs : Runs or None
        What shows exposures as runs.
    lease_name : str
        In whose name exposures are leased.
    deadline : Deadline
        Of a stop.
    follow_up : callable
        Does what follows from the end of an exposure; called where its worker may have died before it could.

    Attributes
    ----------
    reducing : set of int
        Exposures that a worker has, or is about to get.
    finishing : set of int
        Settled, with products or a run that are not at their end.
    unsettled : set of int
        Leased, but not in work: to be handed back when the store answers.
    behind : set of asyncio.Task
        What is done beside the next exposures.
    """

    def __init__(
        self,
        database: Database,
        runs: Runs | None,
        *,
        lease_name: str,
        deadline: Deadline,
        follow_up: Callable[[int], None],
    ) -> None:
        self._database = database
        self._runs = runs
        self._lease_name = lease_name
        self._deadline = deadline
        self._follow_up = follow_up
        self._pace = Pace()
        self.reducing: set[int] = set()
        self.finishing: set[int] = set()
        self.unsettled: set[int] = set()
        self.behind: set[asyncio.Task[None]] = set()

    @property
    def any(self) -> bool:
        """Whether something is not at its end."""
        return bool(self.reducing or self.unsettled or self.behind)

    async def reduce(
        self,
        worker: LiveWorker,
        exposure: Exposure,
        *,
        lease_seconds: float,
        store_failed: Callable[[NightflowError], Awaitable[None]],
    ) -> None:
        """Reduce a leased exposure until it is settled; what is left of it is done behind.

        Parameters
        ----------
        lease_seconds : float
            Of its lease, which is renewed meanwhile.
        store_failed : callable
            Waits where the store is away.
        """
        assert exposure.id is not None
        started = time.monotonic()
        renewal = asyncio.create_task(self._keep_lease(exposure.id, lease_seconds))
        try:
            taken = await self._to_its_end(worker, exposure, exposure.id)
            seconds = time.monotonic() - started
            await call_in_thread(log_exposure, self._database, exposure.id, seconds, taken)
        except NightflowError as error:  # the store: handed back as soon as it answers
            self.unsettled.add(exposure.id)
            await store_failed(error)
        except Exception:  # its lease runs out and it is taken up again; the others go on
            log.exception("%s: not concluded, it is taken up again when its lease ends", exposure.path)
        finally:
            self.reducing.discard(exposure.id)
            await cancelled([renewal], self._deadline.left(2.0))

    async def end_what_is_behind(self) -> None:
        """Let what is done behind come to its end, but not for long."""
        if self.behind:
            await asyncio.wait(self.behind, timeout=self._deadline.left(1.0) / 2)
        await cancelled(list(self.behind), self._deadline.left(1.0))

    def release(self, exposure_ids: set[int]) -> None:
        """Hand exposures back; call it in a thread."""
        for exposure_id in exposure_ids:
            if release(self._database, exposure_id, self._lease_name):
                log.info("exposure %d: handed back unfinished", exposure_id)

    def release_unsettled(self) -> None:
        """Hand back what could not be settled; call it in a thread."""
        for exposure_id in list(self.unsettled):
            release(self._database, exposure_id, self._lease_name)
            self.unsettled.discard(exposure_id)

    async def _to_its_end(
        self, worker: LiveWorker, exposure: Exposure, exposure_id: int
    ) -> dict[tuple[str, int], float]:
        """Let a worker reduce an exposure; return how long each step took, by step and row."""
        began = time.monotonic()
        run = await self._run_of(exposure)
        making = time.monotonic() - began
        noted = self._do_behind(self._note_run(exposure.path, exposure_id, run))
        given = _Given(exposure_id, exposure.path, run, noted)
        try:
            reduced = await worker.reduce(exposure_id, exposure.path, run)
        except WorkerDied as died:
            self._do_behind(self._end_run(run, RunFault(away=False, message=str(died))))
            await call_in_thread(self._count_death, given, died)
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
        if run is not None:
            self._pace.lost(making + reduced.between)
        self.finishing.add(exposure_id)
        self._do_behind(self._see_to_the_rest(given, reduced))
        return reduced.taken

    async def _run_of(self, exposure: Exposure) -> BegunRun | None:
        """Return the run of an exposure, if there is a server; showing it never decides about it."""
        if self._runs is None or not self._shows(exposure):
            return None
        try:
            return await self._runs.begin(exposure)
        except Exception:  # whatever is wrong there, the exposure is reduced without it
            log.exception("%s: not shown as a run", exposure.path)
            return None

    def _shows(self, exposure: Exposure) -> bool:
        if exposure.priority >= Priority.REDO:
            return True  # it may wait
        return self._pace.shows((_now() - exposure.last_queued).total_seconds())

    async def _note_run(self, path: str, exposure_id: int, run: BegunRun | None) -> None:
        """Write down which run shows an exposure, or that none does."""
        try:
            if run is not None:
                await call_in_thread(note_run, self._database, exposure_id, run.id)
            elif self._runs is not None:
                await self._runs.remember(exposure_id)
        except NightflowError as error:
            log.warning("%s: the ledger does not know which run shows it: %s", path, error)

    async def _end_run(self, run: BegunRun | None, fault: RunFault | None) -> None:
        if self._runs is not None and run is not None:
            try:
                await self._runs.end(run, fault)
            except Exception:
                log.exception("run %s: not closed", run.id)

    def _count_death(self, given: _Given, died: WorkerDied) -> None:
        """Write down that a worker died with an exposure in work, which is tried again."""
        if not died.guilty:
            release(self._database, given.id, self._lease_name)
            log.warning("%s: handed back, its worker is gone: %s", given.path, died)
            return
        state = count_death(self._database, given.id, self._lease_name, str(died), _now())
        if state is None:
            log.warning("%s was settled, or taken over, before its worker died in %s", given.path, died)
            self._follow(given)
        else:
            log.error("%s: died in %s; the exposure is %s now", given.path, died, state)

    def _follow(self, given: _Given) -> None:
        try:
            self._follow_up(given.id)
        except NightflowError as error:
            log.warning("%s: what follows from its end is left to the next start: %s", given.path, error)

    def _do_behind(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.behind.add(task)
        task.add_done_callback(self.behind.discard)
        return task

    async def _see_to_the_rest(self, given: _Given, reduced: Reduced) -> None:
        """Take note of how the products of a settled exposure, and its run, ended."""
        try:
            ended = await reduced.rest
        except WorkerDied as died:
            await self._end_run(given.run, RunFault(away=False, message=str(died)))
            warning = f"products not written: {died}"
            for frame_id in died.unwritten:
                log.warning("%s: %s", given.path, warning)
                await self._warn(frame_id, warning)
            return
        finally:
            self.finishing.discard(given.id)
        if given.run is not None and ended.direct is not None:  # its run ended before it did
            await asyncio.wait({given.noted})
            await self._note_run(given.path, given.id, None)
        await self._end_run(given.run, ended.fault)
        if ended.error and reduced.outcome is not None:
            log.warning("%s: settled, but then: %s", given.path, ended.error)

    async def _warn(self, frame_id: int, warning: str) -> None:
        try:
            await call_in_thread(add_warning, self._database, frame_id, warning)
        except NightflowError as error:
            log.warning("frame %d: the ledger could not be told: %s", frame_id, error)

    async def _keep_lease(self, exposure_id: int, seconds: float) -> None:
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


def _now() -> datetime:
    return datetime.now(UTC)
