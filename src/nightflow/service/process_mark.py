"""A name for this process that tells, later and on this machine, whether it still is.

A number alone is given again, after a restart of the machine above all. The mark knows machine, boot, the
room of process numbers (a container has its own), number and start. Where it cannot tell, it says so:
a process of another machine is never called gone.
"""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import NamedTuple

__all__ = ["is_gone", "is_mark", "own_mark"]

_PREFIX = "process"
_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")
_STARTED = 19
"""Of the fields of /proc/PID/stat behind the program's name: when it began, in ticks since the boot."""


class _Mark(NamedTuple):
    host: str
    machine: str
    """Empty where the machine has no number of its own."""
    boot: str
    room: str
    pid: str
    started: str


def own_mark() -> str:
    """Return the mark of this process; empty where the system cannot tell (not Linux)."""
    try:
        return ":".join((_PREFIX, *_own()))
    except OSError:
        return ""


def is_mark(text: str) -> bool:
    """Return whether a text is the mark of a process."""
    return text.startswith(f"{_PREFIX}:")


def is_gone(mark: str) -> bool:
    """Return whether a process was one of this machine, and is no more; False where nobody can tell."""
    try:
        marked, own = _Mark(*mark.split(":")[1:]), _own()
        if (marked.host, marked.machine) != (own.host, own.machine):
            return False
        if marked.boot != own.boot:
            # Without a number of its own it may be another machine of the same name.
            return bool(own.machine)
        return marked.room == own.room and not _is_alive(int(marked.pid), marked.started)
    except (OSError, TypeError, ValueError):
        return False


def _own() -> _Mark:
    pid = os.getpid()
    return _Mark(
        host=socket.gethostname().replace(":", "-"),
        machine=_short(_machine_id()),
        boot=_short((_PROC / "sys/kernel/random/boot_id").read_text()),
        room=str((_PROC / "self/ns/pid").stat().st_ino),
        pid=str(pid),
        started=_started(pid),
    )


def _is_alive(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's process, but a process
    try:
        return _started(pid) == started
    except PermissionError:
        return True
    except FileNotFoundError:
        return True  # hidden, or ending now


def _started(pid: int) -> str:
    # The program's name, in brackets, may hold anything.
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[_STARTED]


def _machine_id() -> str:
    try:
        return _MACHINE_ID.read_text().strip()
    except OSError:
        return ""


def _short(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8] if text.strip() else ""
