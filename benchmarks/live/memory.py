"""Memory of a program and all that it has started, sampled while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightflow.service.memory import memory_of

__all__ = ["MemorySamples", "sampled_memory"]

_SECONDS = 0.93
"""Between samples: no part of a second, or frames that land once a second are always seen in one state."""


class MemorySamples:
    """What was sampled.

    Attributes
    ----------
    times : list of float
        Seconds since 1970.
    totals : list of int
        Bytes that the processes hold for themselves, together.
    processes : list of int
        How many there were.
    """

    def __init__(self) -> None:
        self.times: list[float] = []
        self.totals: list[int] = []
        self.processes: list[int] = []

    def take(self, pid: int) -> None:
        """Sample a process and its descendants; those that end meanwhile count as nothing."""
        held = [memory_of(one) or 0 for one in (pid, *_descendants(pid))]
        self.times.append(time.time())
        self.totals.append(sum(held))
        self.processes.append(len(held))


@contextmanager
def sampled_memory(pid: int) -> Iterator[MemorySamples]:
    """Sample a program's memory until the block ends."""
    samples, stop = MemorySamples(), threading.Event()

    def sample() -> None:
        while not stop.wait(_SECONDS):
            samples.take(pid)

    thread = threading.Thread(target=sample, name="memory", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def _descendants(pid: int) -> Iterator[int]:
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in tasks.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from _descendants(child)
