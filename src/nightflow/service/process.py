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
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from nightflow.signal_handlers import signal_handlers

__all__ = [
    "call_in_thread",
    "cancelled",
    "in_daemon_thread",
    "run_in_thread",
    "set_by_hangup",
    "stopped_by_signals",
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
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()  # who gives up waiting cannot cancel it: it may still say its end

    def target() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # it is raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=target, name=name, daemon=True).start()
    return await asyncio.wrap_future(future)


async def call_in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Do what `asyncio.to_thread` does, in a daemon thread: a store that hangs must not hold up a stop."""
    return await in_daemon_thread("call", partial(work, *args, **kwargs))


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
def set_by_hangup(asked: threading.Event) -> Iterator[None]:
    """Let SIGHUP, which would end the process, ask for new settings instead."""
    with signal_handlers({signal.SIGHUP: lambda *_: asked.set()}):
        yield
