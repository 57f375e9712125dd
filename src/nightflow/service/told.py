"""Who was told of what, and when: shared by the processes that tell, so that nobody is told twice."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

__all__ = ["Told", "told_file"]


def told_file(settings_file: Path) -> Path:
    """Return where that of a settings file stands."""
    return settings_file.with_suffix(".told.json")


class Told:
    """When each kind of event was told last.

    Parameters
    ----------
    file : Path
    clock : callable
        Seconds of the wall clock, which all processes share.
    """

    def __init__(self, file: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock

    def claim(self, event: str, seconds: float) -> bool:
        """Return whether an event may be told now, and take note that it is; not within ``seconds`` again.

        Where the file cannot be read or written it may be told: better twice than not at all.
        """
        with suppress(OSError), self._locked() as file:
            told, now = _times(file.read()), self._clock()
            # A time to come was written before the clock was set back.
            if event in told and 0.0 <= now - told[event] < seconds:
                return False
            _rewrite(file, told | {event: now})
        return True

    def forget(self, event: str) -> None:
        """Take note that an event that was claimed reached nobody."""
        with suppress(OSError), self._locked() as file:
            told = _times(file.read())
            _rewrite(file, {one: when for one, when in told.items() if one != event})

    @contextmanager
    def _locked(self) -> Iterator[TextIO]:
        with self._file.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            yield file


def _rewrite(file: TextIO, told: dict[str, float]) -> None:
    file.seek(0)
    file.truncate()
    file.write(json.dumps(told))


def _times(text: str) -> dict[str, float]:
    try:
        return {str(event): float(when) for event, when in json.loads(text or "{}").items()}
    except (ValueError, TypeError, AttributeError):  # half a file, after a crash
        return {}
