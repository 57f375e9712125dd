"""One watched folder: from its files to ledger rows, and nothing else.

Hints of events and listings name files; the stability tracker says when one is finished; the registrar writes
its row. A file that cannot be read, a ledger that is locked or a folder that vanishes delays that file or
folder: it is told in the log and tried again, ever less often, while the others go on.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from nightflow.errors import RetryLater
from nightflow.file_names import as_text
from nightflow.instruments.completeness import Completeness
from nightflow.instruments.completeness import completeness as completeness_of
from nightflow.sensor.candidates import is_candidate
from nightflow.sensor.places import Places
from nightflow.sensor.refusals import Refusals
from nightflow.sensor.rounds import Rounds
from nightflow.sensor.seen import Seen, seen
from nightflow.sensor.stability import StabilityTracker
from nightflow.sensor.sweep import regular_status, sweep
from nightflow.sensor.watch import FolderWatcher, Hint, latest

__all__ = ["FolderSensor", "Registrar"]

log = logging.getLogger(__name__)

TURN_SECONDS = 0.1
"""How often files that are landing are looked at."""
SLICE_SECONDS = 0.5
"""How long files are looked into, or registered, until events are followed again."""
FAULT_SECONDS = 1.0
"""Pause after a turn that failed."""


class Registrar(Protocol):
    """What the sensor needs of the ledger; called by the threads of all folders."""

    def known(self, path: Path, status: os.stat_result) -> bool:
        """Return whether this file, unchanged, has its row already."""

    def register(self, path: Path) -> None:
        """Write the row of a finished file.

        Raises
        ------
        Exception
            The file cannot be read, changed meanwhile, or the ledger is away: it is tried again.
        """


class FolderSensor:
    """Watches a folder and registers the files that land there.

    Parameters
    ----------
    root : Path
        The folder; absolute.
    places : Places
        How it is looked at, and which others are.
    registrar : Registrar
        Writes the rows.
    completeness : callable, optional
        Says of a file whether it is as long as its headers say; else its headers are asked.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        root: Path,
        places: Places,
        *,
        registrar: Registrar,
        completeness: Callable[[Path], Completeness] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._places = self._next_places = places
        self._registrar = registrar
        self._completeness = completeness or self._by_headers
        self._clock = clock
        self._watcher = FolderWatcher(root)
        self._rounds = Rounds(root, places, watcher=self._watcher, clock=clock)
        self._tracker = StabilityTracker(
            settle_seconds=places.settle_seconds, patience_seconds=places.patience_seconds, clock=clock
        )
        self._refusals = Refusals(clock)
        self._registered: dict[Path, Seen] = {}
        self._behind = False
        self._alive_at = clock()

    @property
    def waiting(self) -> int:
        """How many files are landing; those that cannot be read are not waited for."""
        unreadable = self.unreadable
        return sum(path not in unreadable for path in self._tracker.landing())

    @property
    def listed(self) -> bool:
        """Whether all of the folder was listed once; for any thread."""
        return self._rounds.listed

    @property
    def listing(self) -> bool:
        """Whether it is being listed; for any thread."""
        return self._rounds.busy

    @property
    def unlisted(self) -> str:
        """Why the folder itself cannot be listed, "" where it can; for any thread."""
        return self._rounds.unlisted

    @property
    def unreadable(self) -> dict[Path, str]:
        """The files that the system has not let be read for a while, with its reason; for any thread."""
        return self._refusals.unreadable

    @property
    def silent_seconds(self) -> float:
        """How long ago this folder last answered; for any thread."""
        return self._clock() - self._alive_at

    def look_at(self, places: Places) -> None:
        """Look in another way from the next turn on; for any thread."""
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
        """Take the hints, list when due, look at what is landing, register what is finished."""
        if self._next_places is not self._places:
            self._places = self._next_places
            self._rounds.look_at(self._places)
        for hint in self._take_hints():
            self._follow(hint)
        if self._watcher.lost.is_set():
            self._watcher.lost.clear()
            log.warning("more files landed at once than the system tells of; %s is listed", self._root)
            self._rounds.sweep_now()
        for path, listed in self._rounds.go_on():
            # What was seen is as old as the listing is long: good enough to say that nothing is new.
            if self._registered.get(path) != listed:
                self._notice(path)
        self._tracker.retune(
            settle_seconds=self._places.settle_seconds,
            patience_seconds=self._places.patience_seconds,
            moment_seconds=self._places.moment_seconds(polled=self._rounds.polled),
        )
        for path in self._tracker.resting():
            self._look(path)
        was_behind, self._behind = self._behind, False
        for path in self._in_a_slice(self._tracker.unjudged(), was_behind):
            self._judge(path)
        for path in self._in_a_slice(self._tracker.ready(), was_behind):
            self._register(path)
        self._refusals.tell_unreadable(self._places.patience_seconds)
        self._alive_at = self._clock()

    def _guarded_turn(self) -> None:
        try:
            self.turn()
        except Exception:  # the sensor outlives every fault; the next turn tries again
            log.exception("sensor: a turn failed; the next one tries again")
            time.sleep(FAULT_SECONDS)

    def _in_a_slice(self, paths: list[Path], was_behind: bool) -> Iterator[Path]:
        """Yield those whose turn it is in their order, calibrations mostly before what needs them.

        Those that the slice has no time for are left to the next turn. There the newest goes first: what came
        a moment ago waits for no backlog.
        """
        due = [path for path in paths if not self._refusals.wait(path)]
        begun = self._clock()
        for path in (*due[-1:], *due[:-1]) if was_behind else due:
            if self._clock() - begun >= SLICE_SECONDS:
                self._behind = True
                return
            yield path

    def _take_hints(self) -> list[Hint]:
        """Return what the events say, once for each file or folder; what goes on need not wait for them."""
        hints: list[Hint] = []
        try:
            busy = self._rounds.busy or self._behind
            hints.append(self._watcher.hints.get(timeout=0.0 if busy else TURN_SECONDS))
            while True:
                hints.append(self._watcher.hints.get_nowait())
        except queue.Empty:
            return latest(hints)

    def _follow(self, hint: Hint) -> None:
        if hint.folder:
            for path in sweep(hint.root, self._places.excluded, within=hint.path):
                self._notice(path)
        elif is_candidate(hint.path, hint.root, self._places.excluded):
            self._notice(hint.path, closed=hint.closed)

    def _notice(self, path: Path, *, closed: bool = False) -> None:
        """Begin to follow a file, unless it is known as it is."""
        status = self._status(path)
        if status is None or self._registered.get(path) == seen(status):
            return
        if path not in self._tracker and path not in self._registered and self._known(path, status):
            self._registered[path] = seen(status)
            return
        self._tracker.observe(path, size=status.st_size, mtime_ns=status.st_mtime_ns, closed=closed)

    def _look(self, path: Path) -> os.stat_result | None:
        """Return what the system says of a file; None, and take note of it, where that is not as before."""
        status = self._status(path)
        if status is None:
            self._drop(path)
        elif self._tracker.changed(path, status.st_size, status.st_mtime_ns):
            self._tracker.observe(path, size=status.st_size, mtime_ns=status.st_mtime_ns)
            return None
        return status

    def _known(self, path: Path, status: os.stat_result) -> bool:
        try:
            return self._registrar.known(path, status)
        except Exception as error:  # noqa: BLE001  # in doubt a file is taken for new: its hash will tell
            log.warning("%s: cannot tell whether it is known: %s", path, error)
            return False

    def _judge(self, path: Path) -> None:
        if self._look(path) is None:
            return
        try:
            found = self._completeness(path)
        except RetryLater as error:
            # The disk may be away for a moment: what lies there is judged when it can be read.
            self._refusals.add(path, error)
            return
        except Exception as error:  # noqa: BLE001  # headers are untrusted; then only rest tells
            log.warning("%s: cannot tell whether it is whole: %s", path, error)
            found = Completeness.UNKNOWN
        self._refusals.forget(path)
        self._tracker.judge(path, found)

    def _by_headers(self, path: Path) -> Completeness:
        return completeness_of(Path(as_text(path)), max_pixels=self._places.max_pixels).state

    def _register(self, path: Path) -> None:
        status = self._look(path)
        if status is None:
            return
        try:
            self._registrar.register(path)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with this file, the others go on
            self._refusals.add(path, error)
        else:
            self._registered[path] = seen(status)
            self._drop(path)

    def _status(self, path: Path) -> os.stat_result | None:
        try:
            return regular_status(path)
        finally:
            self._alive_at = self._clock()

    def _drop(self, path: Path) -> None:
        self._tracker.forget(path)
        self._refusals.forget(path)
