"""Inside a worker: one exposure after the other, from the service's pipe to a settled row in the ledger.

The event loop lives in a thread of its own, the pipe is read by another one; the main thread keeps the
signals. A worker whose service has gone ends at once: the successor takes up what it had in work.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from nightflow.errors import NightflowError
from nightflow.heap import give_back_freed_memory, keep_freed_memory
from nightflow.pipeline.outcome import Outcome
from nightflow.pipeline.reduce_exposure import reduce_exposure
from nightflow.pipeline.reducer import Reducer
from nightflow.service.leases import act_as
from nightflow.service.lessons import TellingPointings, TellingSaturation, Untold, take_in
from nightflow.service.memory import allowed_memory, memory_of
from nightflow.service.messages import (
    OUT_OF_MEMORY,
    Begin,
    Ended,
    Learned,
    Leave,
    Ready,
    RunFault,
    Settled,
    Step,
    Task,
    Unfit,
)
from nightflow.service.process import run_in_thread
from nightflow.service.reload import live_reducer
from nightflow.store.models import State
from nightflow.store.overview import get_exposure

__all__ = ["Execute", "serve"]

log = logging.getLogger(__name__)

BEHIND = 1
"""Exposures whose products may still be written when the next one begins; each holds its frames' pixels."""
FRAMES_BEHIND = 2
"""Frames of one exposure that may wait for their products, where it is reduced without a run."""

Execute = Callable[[Task], Awaitable[RunFault | None]]
"""Executes the run of an exposure."""


def serve(connection: Connection, execution: Callable[[Reducer], Execute] | None = None) -> None:
    """Reduce what the service asks for, until it says to leave or is gone.

    Parameters
    ----------
    connection : Connection
        To the service.
    execution : callable, optional
        Makes of a reducer what executes runs; None where no server is used.
    """
    keep_freed_memory()
    run_in_thread(_Bench(connection, execution).work)


class _Bench:
    """The worker; its reducer tells it what goes on (`nightflow.pipeline.outcome.Observer`)."""

    def __init__(self, connection: Connection, execution: Callable[[Reducer], Execute] | None) -> None:
        self._connection = connection
        self._execution = execution
        self._speaking = threading.Lock()
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._jobs: set[asyncio.Task[None]] = set()
        self._numbers: dict[int, int] = {}
        """Exposure -> the task that has it in work."""
        self._settled: set[int] = set()
        """Tasks in work whose exposure is settled."""
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="products")
        self._room = threading.BoundedSemaphore(FRAMES_BEHIND)
        self._untold = Untold()

    async def work(self) -> None:
        threading.Thread(target=self._listen, args=(asyncio.get_running_loop(),), daemon=True).start()
        begin: Begin = await self._inbox.get()
        try:
            act_as(begin.lease_name)
            self._name = begin.lease_name
            self._reducer = live_reducer(begin.settings, observer=self)
            self._pointings, self._saturation = (
                TellingPointings(self._untold),
                TellingSaturation(self._untold),
            )
            self._reducer.context = replace(
                self._reducer.context, pointings=self._pointings, saturation=self._saturation
            )
            self._execute = self._execution(self._reducer) if self._execution is not None else None
        except NightflowError as error:
            self._say(Unfit(str(error)))
            return
        self._say(Ready())
        while not isinstance(task := await self._inbox.get(), Leave):
            if isinstance(task, Learned):
                take_in(task, self._pointings, self._saturation)
                continue
            while len(self._jobs) > BEHIND:
                await asyncio.wait(self._jobs, return_when=asyncio.FIRST_COMPLETED)
            job = asyncio.create_task(self._reduce(task))
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)
        if self._jobs:
            await asyncio.wait(self._jobs)

    def began(self, step: str, exposure_id: int, row: int) -> None:
        self._say(Step(task=self._task_of(exposure_id), name=step, row=row, begins=True))

    def ended(self, step: str, exposure_id: int, row: int) -> None:
        self._say(Step(task=self._task_of(exposure_id), name=step, row=row, begins=False))

    def settled(self, outcome: Outcome) -> None:
        number = self._task_of(outcome.exposure_id)
        self._settled.add(number)
        # The service looks now whether this worker has outgrown: freed memory is not to count.
        if self._holds_more_than(1.0):
            give_back_freed_memory()
        self._say(Settled(task=number, outcome=outcome))

    def exhausted(self, step: str, error: MemoryError) -> None:
        """End at once: what was refused here a new worker may have, which has learnt nothing yet."""
        log.error("%s: not enough memory: %s", step, error)
        os._exit(OUT_OF_MEMORY)

    def _task_of(self, exposure_id: int) -> int:
        """Return the task that has an exposure in work; 0, which is none, where it has ended."""
        return self._numbers.get(exposure_id, 0)

    async def _reduce(self, task: Task) -> None:
        """Reduce an exposure; whatever goes wrong with it, the service hears that it has ended."""
        fault: RunFault | None = None
        direct: Outcome | None = None
        error, store = "", False
        self._numbers[task.exposure_id] = task.number
        try:
            if task.run is not None and self._execute is not None:
                fault = await self._execute(task)
            # No server, or it vanished before the flow began: the same functions without it.
            # What was settled may have been queued again, and leased in this very name, since.
            if task.number not in self._settled and await asyncio.to_thread(self._is_mine, task.exposure_id):
                direct = await self._without_a_run(task.exposure_id)
        except NightflowError as problem:
            error, store = str(problem), True
        except Exception as problem:
            log.exception("%s: not concluded", task.path)
            error = f"{type(problem).__name__}: {problem}"
        for lesson in await asyncio.to_thread(self._untold.take):
            self._say(lesson)
        self._numbers.pop(task.exposure_id, None)
        self._settled.discard(task.number)
        self._reducer.forget(task.exposure_id)
        if self._holds_more_than(0.5):
            await asyncio.to_thread(give_back_freed_memory)
        self._say(Ended(task=task.number, fault=fault, direct=direct, error=error, store=store))

    async def _without_a_run(self, exposure_id: int) -> Outcome:
        due: list[Future[object]] = []

        def behind(frame_id: int) -> None:
            self._room.acquire()
            due.append(self._writer.submit(self._products, frame_id))

        outcome = await asyncio.to_thread(
            reduce_exposure, self._reducer, exposure_id, self._name, products=behind
        )
        await asyncio.gather(*(asyncio.wrap_future(one) for one in due))
        return outcome

    def _products(self, frame_id: int) -> None:
        try:
            self._reducer.products(frame_id)
        finally:
            self._room.release()

    def _holds_more_than(self, part: float) -> bool:
        """Return whether it holds, with what is kept for the next frame, more than a part of what it may."""
        held, allowed = memory_of(os.getpid()), allowed_memory(self._reducer.settings)
        return held is not None and allowed is not None and held > part * allowed

    def _is_mine(self, exposure_id: int) -> bool:
        exposure = get_exposure(self._reducer.database, exposure_id)
        return exposure is not None and exposure.state == State.REDUCING and exposure.leased_by == self._name

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while True:
                message = self._connection.recv()
                loop.call_soon_threadsafe(self._inbox.put_nowait, message)
                if isinstance(message, Leave):
                    return
        except (EOFError, OSError):
            os._exit(0)

    def _say(self, message: object) -> None:
        try:
            with self._speaking:
                self._connection.send(message)
        except OSError:  # the service is gone
            os._exit(0)
