"""Which process it is, among those of all machines and boots, and whether it still is.

A number alone is given again, after a restart of the machine above all. So machine, boot, the room of process
numbers (a container has its own), number and start are told. Where nobody can tell from here, that is said: a
process of another machine is never called gone.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["ProcessIdentity", "identity_of", "still_is"]

_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")
_NUMBER = re.compile(r"[0-9a-f]{32}\s*")
"""What stands there; an image of a container may say that it has none yet."""
_STATE, _STARTED = 0, 19
"""Of the fields of /proc/PID/stat behind the program's name; it began so many ticks after the boot."""
_ENDED = ("Z", "X")
"""States of a process that has ended; its parent, which may never do so, has not taken note."""


class ProcessIdentity(NamedTuple):
    """What tells a process from all others; each part is empty where the system does not say it.

    Attributes
    ----------
    host : str
    machine : str
        Empty where the machine has no number of its own, as in many a container.
    boot, room, pid, started : str
    """

    host: str
    machine: str
    boot: str
    room: str
    pid: str
    started: str


def identity_of(pid: int | None = None) -> ProcessIdentity:
    """Return which process of this machine has a number; without one, which this process is."""
    number = os.getpid() if pid is None else pid
    machine, boot, room = _here()
    return ProcessIdentity(
        host=socket.gethostname().replace(":", "-"),
        machine=machine,
        boot=boot,
        room=room,
        pid=str(number),
        started=_started(number),
    )


def still_is(process: ProcessIdentity) -> bool | None:
    """Return whether a process of this machine lives; None where nobody can tell from here."""
    own = identity_of()
    if (process.host, process.machine) != (own.host, own.machine) or not process.pid.isdecimal():
        return None
    if process.boot != own.boot:
        # Without a number of its own it may be another machine of the same name.
        return False if own.machine else None
    return _is_alive(int(process.pid), process.started) if process.room == own.room else None


def _is_alive(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's process, but a process
    fields = _fields(pid)
    return not fields or (fields[_STATE] not in _ENDED and fields[_STARTED] == started)


@cache
def _here() -> tuple[str, str, str]:
    """Return machine, boot and room of this process, which stay what they are."""
    try:
        room = str((_PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        room = ""
    machine = _read(_MACHINE_ID)
    boot = _read(_PROC / "sys/kernel/random/boot_id")
    return _short(machine if _NUMBER.fullmatch(machine) else ""), _short(boot), room


def _started(pid: int) -> str:
    fields = _fields(pid)
    return fields[_STARTED] if fields else ""


def _fields(pid: int) -> list[str]:
    # The program's name, in brackets, may hold anything. Empty: hidden, or ending now.
    return _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _short(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8] if text.strip() else ""
