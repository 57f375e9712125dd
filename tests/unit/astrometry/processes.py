"""Programs that misbehave, and whether they are really gone."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

STUBBORN_CHILD = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(60)"
)


def program(text: str) -> list[str]:
    """Return the command that runs ``text`` as Python."""
    return [sys.executable, "-c", text]


def with_stubborn_child(note: Path, then: str) -> str:
    """Return a program that starts a child deaf to SIGTERM, notes both numbers, and goes on with ``then``."""
    return (
        "import os, subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN_CHILD!r}]);"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}');"
        f"{then}"
    )


def is_running(pid: int) -> bool:
    """Return whether a process lives; a reparented zombie that nobody reaps yet does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state not in ("Z", "X")


def all_gone(note: Path) -> bool:
    """Return whether the processes noted in ``note`` are gone, at the latest a moment from now."""
    numbers = [int(word) for word in note.read_text().split()]
    deadline = time.monotonic() + 5.0
    while any(is_running(pid) for pid in numbers) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(is_running(pid) for pid in numbers)


def is_reaped(pid: int) -> bool:
    """Return whether a child of ours is no zombie any more."""
    return not Path(f"/proc/{pid}").exists()
