"""The process of the live service: its signals, and the thread of its event loop.

Prefect installs a SIGTERM handler around every run of a main thread, which would raise in the middle of a
reduction. In another thread it cannot; so the event loop lives there, and the main thread keeps the signals
for an orderly stop.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from nightflow.sensor.answers import asked
from nightflow.signal_handlers import signal_handlers

__all__ = [
    "call_in_thread",
    "cancelled",
    "in_daemon_thread",
    "run_in_thread",
    "set_by_hangup",
    "stopped_by_signals",
    "taken_in_thread",
]

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


def run_in_thread(main: Callable[[], Any]) -> None:
    """Run a coroutine function to its end on an event loop in another thread; raise what it raises."""
    failures: list[BaseException] = []

    def target() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  # it is raised again in the calling thread
            failures.append(error)

    thread = threading.Thread(target=target, name="service")
    thread.start()
    while thread.is_alive():
        # A join without end would keep Python from running the signal handlers.
        thread.join(0.2)
    if failures:
        raise failures[0]


async def in_daemon_thread(name: str, work: Callable[[], _T]) -> _T:
    """Return what is done in a thread of its own, for which the end of the process does not wait.

    The threads of `asyncio.to_thread` are waited for, as long as they take, when the event loop ends.
    """
    return await asyncio.wrap_future(asked(work, name))


async def call_in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Do what `asyncio.to_thread` does, in a daemon thread: a store that hangs must not hold up a stop."""
    return await in_daemon_thread("call", partial(work, *args, **kwargs))


async def taken_in_thread(take: Callable[[], _T | None], give_back: Callable[[_T], object]) -> _T | None:
    """Return what is taken in a thread; where the call is cancelled before that has come here, give it back.

    A thread goes on after a cancel: what it takes nobody would have, as long as this process lives.

    Parameters
    ----------
    take : callable
        Returns what it has taken, or None.
    give_back : callable
        Is given that, in a thread.
    """
    lock, is_cancelled = threading.Lock(), False
    taken: _T | None = None

    def work() -> _T | None:
        nonlocal taken
        found = take()
        with lock:
            if not is_cancelled:
                taken = found
                return found
        if found is not None:
            give_back(found)
        return None

    try:
        return await in_daemon_thread("take", work)
    except asyncio.CancelledError:
        with lock:
            is_cancelled = True
        if taken is not None:
            await in_daemon_thread("give back", partial(give_back, taken))
        raise


async def cancelled(tasks: list[asyncio.Task[None]], seconds: float) -> None:
    """Cancel tasks and wait until they are gone, but not for longer than so."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let the first SIGTERM or SIGINT ask for an orderly stop, and a second one end the process."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}

    def on_signal(number: int, _frame: object) -> None:
        log.info("%s: finishing what is being reduced", signal.Signals(number).name)
        for each, handler in before.items():
            signal.signal(each, handler)
        stop.set()

    with signal_handlers(dict.fromkeys(numbers, on_signal)):
        yield


@contextmanager
def set_by_hangup(event: threading.Event) -> Iterator[None]:
    """Let SIGHUP, which would end the process, ask for new settings instead."""
    with signal_handlers({signal.SIGHUP: lambda *_: event.set()}):
        yield
