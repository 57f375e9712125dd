"""The sensor: from folders to ledger rows, and nothing else.

Hints of events and sweeps name files; the stability tracker says when one is finished; the registrar writes
its row. A file that cannot be read, a ledger that is locked or a folder that vanishes delays that file or
folder: it is told in the log and tried again, ever less often, while the others go on.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from nightflow.instruments.completeness import Completeness
from nightflow.instruments.completeness import completeness as completeness_of
from nightflow.sensor.candidates import is_candidate
from nightflow.sensor.stability import StabilityTracker
from nightflow.sensor.sweep import sweep
from nightflow.sensor.watch import FolderWatcher, Hint

__all__ = ["Registrar", "Sensor"]

log = logging.getLogger(__name__)

TURN_SECONDS = 0.1
"""How often files that are landing are looked at."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
MINIMUM_PATIENCE_SECONDS = 10.0
PATIENCE_IN_SETTLE_TIMES = 10.0


class Registrar(Protocol):
    """What the sensor needs of the ledger."""

    def known(self, path: Path, status: os.stat_result) -> bool:
        """Return whether this file, unchanged, has its row already."""

    def register(self, path: Path) -> None:
        """Write the row of a finished file.

        Raises
        ------
        Exception
            The file cannot be read, changed meanwhile, or the ledger is away: it is tried again.
        """


class Sensor:
    """Watches folders and registers the files that land.

    Parameters
    ----------
    folders : sequence of Path
        Where files land; absolute.
    registrar : Registrar
        Writes the rows.
    settle_seconds, sweep_seconds : float
        See `nightflow.config.WatchSettings`.
    completeness : callable
        Says of a file whether it is as long as its headers say.
    excluded : sequence of Path
        Folders inside them that hold no raw frames.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        registrar: Registrar,
        settle_seconds: float = 1.0,
        sweep_seconds: float = 30.0,
        completeness: Callable[[Path], Completeness] = lambda path: completeness_of(path).state,
        excluded: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folders = tuple(folders)
        self._registrar = registrar
        self._completeness = completeness
        self._sweep_seconds = sweep_seconds
        self._excluded = tuple(excluded)
        self._clock = clock
        self._watcher = FolderWatcher()
        self._tracker = StabilityTracker(
            settle_seconds=settle_seconds,
            patience_seconds=max(PATIENCE_IN_SETTLE_TIMES * settle_seconds, MINIMUM_PATIENCE_SECONDS),
            clock=clock,
        )
        self._registered: dict[Path, tuple[int, int]] = {}
        self._retries: dict[Path, tuple[float, float]] = {}
        self._next_sweep = clock()

    @property
    def waiting(self) -> int:
        """How many files are landing."""
        return len(self._tracker)

    def run(self, stop: threading.Event) -> None:
        """Turn until told to stop; no file can end this."""
        self._watcher.start()
        try:
            while not stop.is_set():
                self._guarded_turn()
        finally:
            self._watcher.stop()

    def turn(self) -> None:
        """Take the hints, sweep when due, look at what is landing, register what is finished."""
        for hint in self._take_hints():
            self._follow(hint)
        if self._clock() >= self._next_sweep:
            self._sweep()
        for path in self._tracker.paths():
            self._look(path)
        for path in self._tracker.ready():
            self._register(path)

    def _guarded_turn(self) -> None:
        try:
            self.turn()
        except Exception:  # the sensor outlives every fault; the next turn tries again
            log.exception("sensor: a turn failed; the next one tries again")
            time.sleep(FIRST_RETRY_SECONDS)

    def _take_hints(self) -> list[Hint]:
        hints: list[Hint] = []
        try:
            hints.append(self._watcher.hints.get(timeout=TURN_SECONDS))
            while True:
                hints.append(self._watcher.hints.get_nowait())
        except queue.Empty:
            return hints

    def _follow(self, hint: Hint) -> None:
        if hint.folder:
            for path in sweep(hint.root, self._excluded, within=hint.path):
                self._notice(path)
        elif is_candidate(hint.path, hint.root, self._excluded):
            self._notice(hint.path, closed=hint.closed)

    def _sweep(self) -> None:
        self._next_sweep = self._clock() + self._sweep_seconds
        for folder in self._folders:
            self._watcher.add(folder)
            for path in sweep(folder, self._excluded):
                self._notice(path)

    def _notice(self, path: Path, *, closed: bool = False) -> None:
        """Begin to follow a file, unless it is known as it is."""
        status = _status(path)
        if status is None or self._registered.get(path) == (status.st_size, status.st_mtime_ns):
            return
        if path not in self._tracker and path not in self._registered and self._known(path, status):
            self._registered[path] = (status.st_size, status.st_mtime_ns)
            return
        self._observe(path, status, closed=closed)

    def _look(self, path: Path) -> None:
        status = _status(path)
        if status is None:
            self._drop(path)
        elif self._tracker.changed(path, status.st_size, status.st_mtime_ns):
            self._observe(path, status)

    def _observe(self, path: Path, status: os.stat_result, *, closed: bool = False) -> None:
        self._tracker.observe(
            path,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            completeness=self._measure(path),
            closed=closed,
        )

    def _known(self, path: Path, status: os.stat_result) -> bool:
        try:
            return self._registrar.known(path, status)
        except Exception as error:  # noqa: BLE001  # in doubt a file is taken for new: its hash will tell
            log.warning("%s: cannot tell whether it is known: %s", path, error)
            return False

    def _measure(self, path: Path) -> Completeness:
        try:
            return self._completeness(path)
        except Exception as error:  # noqa: BLE001  # headers are untrusted; then only rest tells
            log.warning("%s: cannot tell whether it is whole: %s", path, error)
            return Completeness.UNKNOWN

    def _register(self, path: Path) -> None:
        retry_at, pause = self._retries.get(path, (0.0, FIRST_RETRY_SECONDS))
        status = _status(path)
        if status is None or self._clock() < retry_at:
            return
        try:
            self._registrar.register(path)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with this file, the others go on
            self._retries[path] = (self._clock() + pause, min(2 * pause, LAST_RETRY_SECONDS))
            log.warning("%s: not registered, next try in %.0f s: %s", path, pause, error)
            return
        self._registered[path] = (status.st_size, status.st_mtime_ns)
        self._drop(path)

    def _drop(self, path: Path) -> None:
        self._tracker.forget(path)
        self._retries.pop(path, None)


def _status(path: Path) -> os.stat_result | None:
    """Return what the file system says of a file, None if it is gone."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s: cannot be looked at: %s", path, error)
        return None
