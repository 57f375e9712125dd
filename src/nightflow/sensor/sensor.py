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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from nightflow.errors import RetryLater
from nightflow.instruments.completeness import Completeness
from nightflow.instruments.completeness import completeness as completeness_of
from nightflow.sensor.candidates import is_candidate
from nightflow.sensor.silent import is_silent
from nightflow.sensor.stability import StabilityTracker
from nightflow.sensor.sweep import sweep
from nightflow.sensor.watch import FolderWatcher, Hint

__all__ = ["Places", "Registrar", "Sensor"]

log = logging.getLogger(__name__)

TURN_SECONDS = 0.1
"""How often files that are landing are looked at."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
MINIMUM_PATIENCE_SECONDS = 10.0
PATIENCE_IN_SETTLE_TIMES = 10.0
POLL_PAUSE = 10.0
"""Times that the listing of folders takes, until they are listed again."""


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


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where files land, and how they are looked at.

    Attributes
    ----------
    folders : tuple of Path
        Where files land; absolute.
    excluded : tuple of Path
        Folders inside them that hold no raw frames.
    settle_seconds, sweep_seconds, polling, poll_seconds
        See `nightflow.config.WatchSettings`.
    """

    folders: tuple[Path, ...]
    excluded: tuple[Path, ...] = ()
    settle_seconds: float = 1.0
    sweep_seconds: float = 30.0
    polling: Literal["auto", "always", "never"] = "auto"
    poll_seconds: float = 2.0

    @property
    def patience_seconds(self) -> float:
        """How long a file may stay short, or unreadable, before that is taken for its last word."""
        return max(PATIENCE_IN_SETTLE_TIMES * self.settle_seconds, MINIMUM_PATIENCE_SECONDS)

    def hold(self, path: Path) -> bool:
        """Return whether a file lies in one of the folders."""
        return any(path.is_relative_to(folder) for folder in self.folders)

    def polled(self) -> tuple[Path, ...]:
        """Return the folders from which no events come, as things are now."""
        if self.polling == "auto":
            return tuple(folder for folder in self.folders if is_silent(folder))
        return self.folders if self.polling == "always" else ()


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    """A file that could not be registered."""

    since: float
    """When it first could not."""
    retry_at: float
    pause: float
    reason: str
    of_the_file: bool
    """The system does not let it be read; else the store is away, or the file changes."""


class Sensor:
    """Watches folders and registers the files that land.

    Parameters
    ----------
    places : Places
    registrar : Registrar
        Writes the rows.
    completeness : callable
        Says of a file whether it is as long as its headers say.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        places: Places,
        *,
        registrar: Registrar,
        completeness: Callable[[Path], Completeness] = lambda path: completeness_of(path).state,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = self._next_places = places
        self._registrar = registrar
        self._completeness = completeness
        self._clock = clock
        self._watcher = FolderWatcher()
        self._tracker = StabilityTracker(
            settle_seconds=places.settle_seconds, patience_seconds=places.patience_seconds, clock=clock
        )
        self._registered: dict[Path, tuple[int, int, int]] = {}
        self._refused: dict[Path, _Refusal] = {}
        self._unreadable: dict[Path, str] = {}
        self._next_sweep = self._next_poll = clock()
        self._polled: tuple[Path, ...] = ()

    @property
    def waiting(self) -> int:
        """How many files are landing; those that cannot be read are not waited for."""
        return len(self._tracker) - len(self._unreadable)

    @property
    def unreadable(self) -> dict[Path, str]:
        """The files that the system has not let be read for a while, with its reason; for any thread."""
        return self._unreadable

    def look_at(self, places: Places) -> None:
        """Look at other folders, or in another way, from the next turn on; for any thread."""
        self._next_places = places

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
        if self._next_places is not self._places:
            self._move(self._next_places)
        for hint in self._take_hints():
            self._follow(hint)
        if self._watcher.lost.is_set():
            self._watcher.lost.clear()
            log.warning("more files landed at once than the system tells of; all folders are listed")
            self._next_sweep = self._clock()
        if self._clock() >= self._next_sweep:
            self._sweep()
        elif self._polled and self._clock() >= self._next_poll:
            self._poll()
        for path in self._tracker.paths():
            self._look(path)
        for path in self._tracker.ready():
            self._register(path)
        self._tell_unreadable()

    def _move(self, places: Places) -> None:
        """Forget what lies nowhere any more, and look around at once."""
        for folder in set(self._places.folders) - set(places.folders):
            self._watcher.remove(folder)
        for path in self._tracker.paths():
            if not places.hold(path):
                self._drop(path)
        self._tracker.retune(settle_seconds=places.settle_seconds, patience_seconds=places.patience_seconds)
        self._places = places
        self._next_sweep = self._clock()

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
        if hint.root not in self._places.folders:
            return
        if hint.folder:
            for path in sweep(hint.root, self._places.excluded, within=hint.path):
                self._notice(path)
        elif is_candidate(hint.path, hint.root, self._places.excluded):
            self._notice(hint.path, closed=hint.closed)

    def _sweep(self) -> None:
        self._next_sweep = self._clock() + self._places.sweep_seconds
        for folder in self._places.folders:
            self._watcher.add(folder)
            self._list(folder)
        polled = self._places.polled()
        for folder in set(polled) - set(self._polled):
            log.info(
                "%s: listed every %g s, for no events come from there", folder, self._places.poll_seconds
            )
        self._polled = polled

    def _poll(self) -> None:
        begun = self._clock()
        for folder in self._polled:
            self._list(folder)
        # A year of nights on a slow disk takes its time: no more than a tenth of all is spent on that.
        pause = max(self._places.poll_seconds, POLL_PAUSE * (self._clock() - begun))
        self._next_poll = self._clock() + pause

    def _list(self, folder: Path) -> None:
        for path in sweep(folder, self._places.excluded):
            self._notice(path)

    def _notice(self, path: Path, *, closed: bool = False) -> None:
        """Begin to follow a file, unless it is known as it is."""
        status = _status(path)
        if status is None or self._registered.get(path) == _seen(status):
            return
        if path not in self._tracker and path not in self._registered and self._known(path, status):
            self._registered[path] = _seen(status)
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
        except RetryLater as error:  # it cannot be read: registering it will say so
            log.debug("%s", error)
        except Exception as error:  # noqa: BLE001  # headers are untrusted; then only rest tells
            log.warning("%s: cannot tell whether it is whole: %s", path, error)
        return Completeness.UNKNOWN

    def _register(self, path: Path) -> None:
        refused = self._refused.get(path)
        status = _status(path)
        if status is None or (refused is not None and self._clock() < refused.retry_at):
            return
        try:
            self._registrar.register(path)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with this file, the others go on
            self._refused[path] = self._refusal(path, refused, error)
            return
        self._registered[path] = _seen(status)
        self._drop(path)

    def _refusal(self, path: Path, before: _Refusal | None, error: Exception) -> _Refusal:
        """Return what is known of a file that was refused once more; its reason is logged once."""
        now, pause = self._clock(), FIRST_RETRY_SECONDS if before is None else before.pause
        refusal = _Refusal(
            since=now if before is None else before.since,
            retry_at=now + pause,
            pause=min(2 * pause, LAST_RETRY_SECONDS),
            reason=str(error),
            of_the_file=isinstance(error, OSError) or isinstance(error.__cause__, OSError),
        )
        # A file is often unreadable for a moment, while its owner and rights are being set.
        said = refusal.of_the_file or (before is not None and before.reason == refusal.reason)
        level = logging.DEBUG if said else logging.WARNING
        log.log(level, "%s: not registered, next try in %.0f s: %s", path, pause, error)
        return refusal

    def _tell_unreadable(self) -> None:
        """Say once of each file that it cannot be read, when that has lasted."""
        last = self._clock() - self._places.patience_seconds
        unreadable = {
            path: refused.reason
            for path, refused in self._refused.items()
            if refused.of_the_file and refused.since <= last
        }
        for path in unreadable.keys() - self._unreadable.keys():
            log.warning("%s; it is taken when it can be read: look at its owner and rights", unreadable[path])
        self._unreadable = unreadable

    def _drop(self, path: Path) -> None:
        self._tracker.forget(path)
        self._refused.pop(path, None)


def _seen(status: os.stat_result) -> tuple[int, int, int]:
    """Return by what a file is known again: a copy that keeps the time of its content has another ctime."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _status(path: Path) -> os.stat_result | None:
    """Return what the file system says of a file, None if it is gone."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s: cannot be looked at: %s", path, error)
        return None
