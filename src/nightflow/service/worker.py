"""The service's handle on one worker process: gives it exposures, and ends it where it hangs or swells."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import signal
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from nightflow.config import Settings, StepLimits
from nightflow.errors import RetryLater
from nightflow.pipeline.outcome import Outcome
from nightflow.service.lessons import Lessons
from nightflow.service.memory import allowed_memory, memory_of
from nightflow.service.messages import (
    OUT_OF_MEMORY,
    Begin,
    BegunRun,
    Ended,
    Learned,
    Leave,
    Ready,
    Settled,
    Step,
    Task,
    Unfit,
)
from nightflow.service.nursery import Nursery

__all__ = ["Reduced", "Worker", "WorkerDied"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How often a worker's steps and memory are looked at."""
START_SECONDS = 60.0
REAP_SECONDS = 20.0
"""How long a worker may take to end once it was killed: one that waits for a disk that is away does not."""
FAR_ABOVE = 1.5
"""Times the allowed memory, at which a worker is ended in the middle of its exposure."""


class WorkerDied(Exception):  # noqa: N818  # what happened, not an error of ours
    """A worker ended before what it was given had.

    Parameters
    ----------
    how : str
        The step, what ended it, after how long.
    guilty : bool
        Whether the exposure in work may have caused it.
    unwritten : set of int
        Frames whose products were not written.
    """

    def __init__(self, how: str, *, guilty: bool = True, unwritten: set[int] | None = None) -> None:
        super().__init__(how)
        self.guilty = guilty
        self.unwritten = unwritten or set()


@dataclass(frozen=True)
class Reduced:
    """An exposure that is settled, or came to no end.

    Attributes
    ----------
    outcome : Outcome or None
        None where it was not settled; ``rest`` tells why.
    rest : awaitable of Ended
        What is done on it after it was settled: products, its run. Raises `WorkerDied`.
    taken : dict
        Step and row (of a frame, or of the exposure) -> seconds, of the steps that have ended.
    between : float
        Seconds until it was settled in which no step was at work: its run was begun, or named.
    """

    outcome: Outcome | None
    rest: Awaitable[Ended]
    taken: dict[tuple[str, int], float] = field(default_factory=dict)
    between: float = 0.0


@dataclass
class _Job:
    """An exposure that was given to the worker."""

    since: float
    settled: asyncio.Future[Outcome | None]
    ended: asyncio.Future[Ended]
    steps: dict[tuple[str, int], float] = field(default_factory=dict)
    """Step and row -> when it began."""
    taken: dict[tuple[str, int], float] = field(default_factory=dict)
    """Step and row -> how long it took."""
    last_step: float = 0.0
    between: float = 0.0
    """How long no step was at work until it was settled."""
    unwritten: set[int] = field(default_factory=set)

    @property
    def begun(self) -> bool:
        """Whether the worker has said that it is at it."""
        return self.last_step > self.since

    def may_have_waited(self, now: float) -> None:
        """Take note that the worker is done with an older one: only now does it begin this one."""
        if not self.begun:
            self.since = self.last_step = now

    def pause_ends(self, now: float) -> None:
        """Take note that a step begins, or none is to come, where none was at work."""
        if not self.steps and not self.settled.done():
            self.between += now - self.last_step

    def current(self, now: float) -> tuple[str, float]:
        """Return the step that has lasted longest, and how long [s]."""
        if not self.steps:
            return "between two steps", now - self.last_step
        (name, _), began = min(self.steps.items(), key=lambda item: item[1])
        return name, now - began


class Worker:
    """One worker process.

    Parameters
    ----------
    nursery : Nursery
    settings : Settings
        It works with.
    lease_name : str
        In whose name exposures are leased.
    lessons : Lessons, optional
        What workers have learnt, for all of them.
    """

    def __init__(
        self, nursery: Nursery, settings: Settings, lease_name: str, lessons: Lessons | None = None
    ) -> None:
        self._nursery = nursery
        self._settings = settings
        self._limits = settings.watch.limits
        self._allowed = allowed_memory(settings)
        self._lease_name = lease_name
        self._lessons = lessons or Lessons()
        self._heard: set[int] = set()
        """Numbers of the lessons that it knows."""
        self._numbers = itertools.count(1)
        self._jobs: dict[int, _Job] = {}
        self._leaving = False
        self._killed_at = math.inf
        self._abandoned = False
        self._cause = ""
        self._guilty = True
        self.pid = 0

    @property
    def alive(self) -> bool:
        """Whether it can be given an exposure."""
        return self.pid > 0 and not self._exited.done() and not self._abandoned

    @property
    def outgrown(self) -> bool:
        """Whether it holds more memory than it may, and had better be replaced."""
        held = memory_of(self.pid) if self.alive else None
        return held is not None and self._allowed is not None and held > self._allowed

    async def start(self) -> None:
        """Fork it, and wait until it is ready.

        Raises
        ------
        RetryLater
            It cannot be forked now, cannot work, has ended, or was not ready in time.
        NurseryGone
        """
        self.pid, self._connection, self._exited = await self._nursery.fork()
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Ready | Unfit] = loop.create_future()
        loop.add_reader(self._connection, self._listen, self._connection)
        self._watching = asyncio.create_task(self._watch())
        with suppress(OSError):  # it has been killed: its exit tells
            self._connection.send(Begin(settings=self._settings, lease_name=self._lease_name))
        waiting: set[asyncio.Future[Any]] = {self._ready, self._exited}
        await asyncio.wait(waiting, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        answer = self._ready.result() if self._ready.done() else None
        if isinstance(answer, Ready):
            log.debug("worker %d is ready", self.pid)
            with suppress(OSError):
                self._teach()
            return
        if isinstance(answer, Unfit):
            why = answer.reason
        elif self._exited.done():
            why = _ending(self._exited.result())
        else:
            why = f"not ready in {START_SECONDS:.0f} s"
        self.kill("did not begin")
        raise RetryLater(f"worker {self.pid} cannot work: {why}")

    async def reduce(self, exposure_id: int, path: str, run: BegunRun | None) -> Reduced:
        """Reduce a leased exposure; return when the ledger says how it ended.

        Raises
        ------
        WorkerDied
            It ended before.
        """
        if self._watching.done():  # while the exposure was leased: nobody would tell of its end any more
            raise WorkerDied(f"before it began: worker {self.pid} had ended", guilty=False)
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        job = _Job(since=now, settled=loop.create_future(), ended=loop.create_future(), last_step=now)
        job.ended.add_done_callback(_seen)
        job.settled.add_done_callback(_seen)
        number = next(self._numbers)
        self._jobs[number] = job
        with suppress(OSError):  # it is dead: the watch sees it
            self._teach()
            self._connection.send(Task(number=number, exposure_id=exposure_id, path=path, run=run))
        outcome = await job.settled
        return Reduced(outcome, job.ended, job.taken, job.between)

    def _teach(self) -> None:
        """Tell it what others have learnt since."""
        lessons = self._lessons.all()
        for number, lesson in lessons.items():
            if number not in self._heard:
                self._connection.send(lesson)
        self._heard = set(lessons)

    async def leave(self, seconds: float, why: str) -> None:
        """Let it finish what it has in work, and end; end it after so many seconds, and say why."""
        if self.pid <= 0:
            return
        self._leaving = True
        with suppress(OSError):
            self._connection.send(Leave())
        await asyncio.wait({self._exited}, timeout=seconds)
        self.kill(f"was ended, {why}")
        await asyncio.wait({self._watching}, timeout=2)

    def kill(self, cause: str, *, guilty: bool = False) -> None:
        """End it at once."""
        if self.alive:
            self._cause, self._guilty = cause, guilty
            self._killed_at = min(self._killed_at, time.monotonic())
            self._nursery.kill(self.pid)

    async def _watch(self) -> None:
        """Look at its steps and its memory until it ends, or cannot be ended; say then that it did."""
        while self.alive:
            self._mind_the_limits()
            await asyncio.wait({self._exited}, timeout=LOOK_SECONDS)
            self._abandoned = time.monotonic() - self._killed_at > REAP_SECONDS
        self._listen(self._connection, to_the_end=True)
        asyncio.get_running_loop().remove_reader(self._connection)
        self._connection.close()
        self._bury(_ending(self._exited.result()) if self._exited.done() else self._left_behind())

    def _left_behind(self) -> str:
        """Give up a worker that was killed and does not end; another one takes its place."""
        self._cause += f"; it has not ended in {REAP_SECONDS:g} s and is left behind"
        log.error("worker %d %s: it waits for a disk that is away, or for a driver", self.pid, self._cause)
        return self._cause

    def _mind_the_limits(self) -> None:
        if self._cause:
            return
        now = time.monotonic()
        for job in self._jobs.values():
            step, seconds = job.current(now)
            limit = _limit(self._limits, step)
            if seconds > limit:
                # What is settled already is not the fault of the exposure that is in work now.
                self.kill(
                    f"was ended, the limit is {limit:g} s ([watch] limits)", guilty=not job.settled.done()
                )
                return
        held = memory_of(self.pid)
        if held is not None and self._allowed is not None and held > FAR_ABOVE * self._allowed:
            memory = f"{held / 1e9:.1f} GB of memory where {self._allowed / 1e9:.1f} GB are allowed"
            self.kill(f"was ended, it held {memory}", guilty=True)

    def _bury(self, ending: str) -> None:
        """Tell those who wait for its exposures that they wait in vain."""
        now = time.monotonic()
        cause = self._cause or ending
        for job in self._jobs.values():
            step, seconds = job.current(now)
            died = WorkerDied(
                f"{step}, after {seconds:.1f} s: worker {self.pid} {cause}",
                # One that the worker had not begun dies of another that it had not ended.
                guilty=self._guilty and (job.begun or len(self._jobs) == 1),
                unwritten=job.unwritten if self._settings.watch.products else set(),
            )
            for future in (job.settled, job.ended):
                if not future.done():
                    future.set_exception(died)
        if not self._jobs and not self._cause and not self._leaving:
            log.warning("worker %d, which had nothing in work, %s", self.pid, ending)
        self._jobs.clear()

    def _listen(self, connection: Connection, *, to_the_end: bool = False) -> None:
        """Take what it has said; a worker that dies may break off in the middle of a word."""
        try:
            while connection.poll():
                self._take(connection.recv())
                if not to_the_end:
                    return
        except (EOFError, OSError):
            with suppress(OSError, ValueError):
                asyncio.get_running_loop().remove_reader(connection)
        except Exception:
            log.exception("worker %d said what nobody understands", self.pid)
            self.kill("said what nobody understands")

    def _take(self, message: object) -> None:
        match message:
            case Ready() | Unfit():
                if not self._ready.done():
                    self._ready.set_result(message)
            case Step():
                if message.task in self._jobs:
                    _note(self._jobs[message.task], message)
            case Learned():
                self._heard.add(self._lessons.add(message))
            case Settled():
                job = self._jobs.get(message.task)
                if job is not None and not job.settled.done():
                    job.pause_ends(time.monotonic())
                    job.settled.set_result(message.outcome)
            case Ended():
                job = self._jobs.pop(message.task, None)
                if job is not None:
                    for future, result in ((job.settled, None), (job.ended, message)):
                        if not future.done():
                            future.set_result(result)  # type: ignore[arg-type]
                    for other in self._jobs.values():
                        other.may_have_waited(time.monotonic())


def _note(job: _Job, step: Step) -> None:
    now = time.monotonic()
    key = step.name, step.row
    if step.begins:
        if key not in job.taken:  # else it is tried again, after a pause that is not the server's
            job.pause_ends(now)
        job.steps[key] = job.last_step = now
        return
    job.last_step = now
    job.taken[key] = now - job.steps.pop(key, now)
    if step.name == "append":
        job.unwritten.add(step.row)
    elif step.name == "products":
        job.unwritten.discard(step.row)


def _limit(limits: StepLimits, step: str) -> float:
    return float(getattr(limits, step, limits.other))


def _ending(status: int) -> str:
    if status == OUT_OF_MEMORY:
        return "was refused the memory that it needs"
    if status == -signal.SIGKILL:
        return "was killed by SIGKILL (out of memory? see dmesg)"
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended by itself with status {status}"


def _seen(future: asyncio.Future[Any]) -> None:
    """Let nobody complain of an exception that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
