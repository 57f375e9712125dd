"""The names in which runs and shares lease: of one process among those of all machines, now and later."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

__all__ = ["RUNS", "lives_here", "run_worker", "shown_worker"]

RUNS = "run:"
"""What all of these names begin with."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_START_FIELD = 22
"""Of /proc/PID/stat: when the process began, in ticks since the machine did."""


def run_worker(pid: int | None = None) -> str:
    """Return the name in which a process of this machine leases; without a number, this process.

    After machine and number, which are for people and may be another's too (containers with one host name,
    a number that is used again), it says in which boot and namespace that number counts, and when the
    process began.
    """
    number = os.getpid() if pid is None else pid
    return f"{RUNS}{socket.gethostname()}:{number}:{_place()}-{_began(number)}"


def shown_worker(worker: str) -> str:
    """Return a name as people read it: without what only tells it from others of that machine and number."""
    return ":".join(worker.split(":")[:3])


def lives_here(worker: str) -> bool | None:
    """Return whether the process of a name, which was one of this machine, still is.

    None where nobody can tell from here: it is of another machine, of a container, of before a restart.
    """
    machine, _, mark = worker.rpartition(":")
    host, _, number = machine.rpartition(":")
    place, _, began = mark.partition("-")
    if host != f"{RUNS}{socket.gethostname()}" or place != _place() or not number.isdecimal():
        return None
    return _is_alive(int(number)) and _began(int(number)) in ("", began)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's process, but a process
    return True


@cache
def _place() -> str:
    """Return a short name for the boot of the machine and the namespace of its processes."""
    try:
        place = f"{_BOOT.read_text()} {_NAMESPACE.readlink()}"
    except OSError:  # not Linux: the name of the machine has to do
        place = ""
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def _began(pid: int) -> str:
    """Return when a process began, as the system counts; "" where there is none, or nobody can tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The program's name stands in brackets, and may hold anything, brackets too.
    return stat.rpartition(")")[2].split()[_START_FIELD - 3]
