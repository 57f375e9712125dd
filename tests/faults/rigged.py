"""`nightflow`, with workers that can be struck at a step: a program of its own.

In the folder FAULTS_STRIKES a file `<fault>-<when>-<step>` arms a strike: the first exposure that comes to
that step meets it, unless it has met another one, and the file's name gets `.struck` at its end.

kill: SIGKILL; memory: the process is refused any more memory during the step. `when` is before or after it.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from nightflow.cli import app
from nightflow.pipeline import reducer as reducer_module
from nightflow.pipeline.reducer import Reducer

STRIKES = Path(os.environ["FAULTS_STRIKES"])
WANTED = 2**30
"""Bytes; more than a process has lying about."""


class Rig:
    """Wraps the steps of a reducer; products are written behind, while the next exposure is in work."""

    def __init__(self) -> None:
        self._exposure = 0
        self._exposure_of: dict[int, int] = {}

    def wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def method(reducer: Reducer, row: int, *arguments: Any, **options: Any) -> Any:
            if name == "identify":
                self._exposure = row
            step = arguments[0] if name == "perform" else name
            exposure = row if name in ("identify", "conclude") else self._exposure_of[row]
            if self._met(f"kill-before-{step}", exposure):
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(reducer, row, *arguments, **options)
            if name == "identify":
                self._exposure_of |= dict.fromkeys(result.frame_ids, row)
            if self._met(f"kill-after-{step}", exposure):
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return method

    def starved(self, step: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap what a step does, so that it wants more than it may have."""

        @wraps(original)
        def work(*arguments: Any) -> Any:
            if self._met(f"memory-before-{step}", self._exposure):
                refuse_memory()
                bytearray(WANTED)
            return original(*arguments)

        return work

    def _met(self, strike: str, exposure: int) -> bool:
        armed, met = STRIKES / strike, STRIKES / f"exposure-{exposure}"
        if not armed.exists() or met.exists():
            return False
        met.touch()
        armed.rename(STRIKES / f"{strike}.struck")
        return True


def refuse_memory() -> None:
    """Let this process have no more memory than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    rig = Rig()
    for name in ("identify", "perform", "settle_frame", "conclude", "products"):
        setattr(Reducer, name, rig.wrapped(name, getattr(Reducer, name)))
    steps = reducer_module._WORKERS
    steps.update({step: rig.starved(step, work) for step, work in steps.items()})
    app()
