"""Signals, and the thread of the event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from nightflow.service.process import in_daemon_thread, run_in_thread, stopped_by_signals


def test_the_first_signal_stops_in_order_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = threading.Event()
    with stopped_by_signals(stop):
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(2)
        assert signal.getsignal(signal.SIGTERM) is before, "a second signal ends the process"
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_fails_in_the_service_thread_is_raised_in_the_caller() -> None:
    async def main() -> None:
        raise OSError("no loop today")

    with pytest.raises(OSError, match="no loop today"):
        run_in_thread(main)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    async def main() -> None:
        with stopped_by_signals(threading.Event()):
            seen.append(signal.getsignal(signal.SIGTERM))

    run_in_thread(main)
    assert seen == [before]


def test_what_is_done_in_a_daemon_thread_returns_and_fails_as_if_it_were_done_here() -> None:
    assert asyncio.run(in_daemon_thread("rooms", lambda: threading.current_thread().name)) == "rooms"
    assert asyncio.run(in_daemon_thread("rooms", lambda: threading.current_thread().daemon))
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_daemon_thread("rooms", lambda: 1 / 0))


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_daemon_thread_that_nobody_waits_for_any_more_ends_in_silence() -> None:
    go_on = threading.Event()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_daemon_thread("late", go_on.wait), 0.05)

    asyncio.run(give_up())
    [late] = [thread for thread in threading.enumerate() if thread.name == "late"]
    go_on.set()
    late.join(5)
    assert not late.is_alive()
