"""The sensor: a thread for each watched folder, so that a disk that hangs holds up no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nightflow.instruments.completeness import Completeness
from nightflow.sensor.folder import FolderSensor, Registrar
from nightflow.sensor.places import Places

__all__ = ["Sensor"]

log = logging.getLogger(__name__)

MINDING_SECONDS = 0.2
"""How often other folders and hanging ones are looked after."""
HANGS_AFTER = 120.0
"""Seconds without an answer after which a folder is told to hang."""
BEGIN_AGAIN_SECONDS = 10.0
"""Pause until a folder is begun with again whose thread has ended, or could not be started."""
LEAVE_SECONDS = 4.0
"""How long a stop waits for the threads; one that hangs is left behind, and ends with the process."""


@dataclass(frozen=True)
class _Running:
    sensor: FolderSensor
    thread: threading.Thread
    stop: threading.Event


class Sensor:
    """Watches folders and registers the files that land.

    Parameters
    ----------
    places : Places
    registrar : Registrar
        Writes the rows; called by many threads.
    completeness : callable, optional
        Says of a file whether it is as long as its headers say; else its headers are asked.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        places: Places,
        *,
        registrar: Registrar,
        completeness: Callable[[Path], Completeness] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = self._next_places = places
        self._registrar = registrar
        self._completeness = completeness
        self._clock = clock
        self._running: dict[Path, _Running] = {}
        self._asked_at = clock()
        self._begin_at: dict[Path, float] = {}
        self._said: dict[Path, str] = {}
        self._thread: threading.Thread | None = None
        self._hanging: frozenset[Path] = frozenset()

    @property
    def alive(self) -> bool:
        """Whether somebody looks after the folders, or is about to; for any thread."""
        return self._thread is None or self._thread.is_alive()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Those that are to be looked at; for any thread."""
        return self._next_places.folders

    @property
    def waiting(self) -> int:
        """How many files are landing; those that cannot be read are not waited for."""
        return sum(one.sensor.waiting for one in self._running.copy().values())

    @property
    def busy(self) -> bool:
        """Whether files are landing, or a folder was not listed yet; one that hangs is not waited for."""
        return any(one is None or not one.listed or one.waiting > 0 for one in self._answering())

    @property
    def listing(self) -> bool:
        """Whether a folder that answers is being listed; for any thread."""
        return any(one is not None and one.listing for one in self._answering())

    @property
    def unreadable(self) -> dict[Path, str]:
        """The files that the system has not let be read for a while, with its reason; for any thread."""
        found: dict[Path, str] = {}
        for one in self._running.copy().values():
            found |= one.sensor.unreadable
        return found

    @property
    def unlisted(self) -> dict[Path, str]:
        """The folders that cannot be listed, with the system's reason; for any thread."""
        running = self._running.copy()
        faults = {folder: running[folder].sensor.unlisted for folder in self.folders if folder in running}
        return {folder: fault for folder, fault in faults.items() if fault}

    @property
    def hanging(self) -> dict[Path, float]:
        """The folders that have not answered for a while, and for how many seconds; for any thread."""
        silent = {folder: self._silent_seconds(folder) for folder in self.folders}
        return {folder: seconds for folder, seconds in silent.items() if seconds >= HANGS_AFTER}

    def look_at(self, places: Places) -> None:
        """Look at other folders, or in another way, from now on; for any thread."""
        self._asked_at = self._clock()
        self._next_places = places
        for folder, one in self._running.copy().items():
            if folder not in places.folders:
                one.stop.set()

    def run(self, stop: threading.Event) -> None:
        """Look after the threads until told to stop; no fault can end this."""
        self._thread = threading.current_thread()
        try:
            while not stop.is_set():
                self._guarded_look()
                stop.wait(MINDING_SECONDS)
        finally:
            _join(self._taken_out(Places(folders=())))

    def _guarded_look(self) -> None:
        try:
            self._look()
        except Exception:  # the folders' threads go on; the next look tries again
            log.exception("sensor: looking after the folders failed; the next look tries again")

    def _look(self) -> None:
        """Begin with folders that are new, or whose threads have ended; leave those no more wanted."""
        left: list[_Running] = []
        if self._next_places is not self._places:
            self._places = self._next_places
            self._begin_at.clear()
            left = self._taken_out(self._places)
            for one in self._running.values():
                one.sensor.look_at(self._places)
        for folder in self._places.folders:
            if folder not in self._running or not self._running[folder].thread.is_alive():
                self._begin(folder)
        _join(left)
        self._tell_hanging()

    def _taken_out(self, places: Places) -> list[_Running]:
        """Let go, and return, what is not looked at any more."""
        left = [
            self._running.pop(folder)
            for folder, one in list(self._running.items())
            if folder not in places.folders or one.stop.is_set()
        ]
        for one in left:
            one.stop.set()
        return left

    def _begin(self, folder: Path) -> None:
        """Start a folder's thread, now and then where that fails: the others go on."""
        now = self._clock()
        if now < self._begin_at.get(folder, now):
            return
        self._begin_at[folder] = now + BEGIN_AGAIN_SECONDS
        if folder in self._running:
            log.error("%s: its thread has ended; it is begun anew", folder)
        try:
            self._running[folder] = self._started(folder, self._places)
        except Exception as error:  # noqa: BLE001  # as where the system has no more threads
            if self._said.get(folder) != str(error):
                self._said[folder] = str(error)
                log.error("%s: nothing is taken from there, it is tried again: %s", folder, error)
        else:
            self._said.pop(folder, None)

    def _started(self, folder: Path, places: Places) -> _Running:
        sensor = FolderSensor(
            folder, places, registrar=self._registrar, completeness=self._completeness, clock=self._clock
        )
        stop = threading.Event()
        thread = threading.Thread(target=sensor.run, args=(stop,), name=f"sensor {folder}", daemon=True)
        thread.start()
        return _Running(sensor, thread, stop)

    def _answering(self) -> list[FolderSensor | None]:
        """Return the folders that do not hang, None for one that is not begun with yet; for any thread."""
        hanging, running = self.hanging, self._running.copy()
        wanted = [running.get(folder) for folder in self.folders if folder not in hanging]
        return [None if one is None else one.sensor for one in wanted]

    def _silent_seconds(self, folder: Path) -> float:
        one = self._running.get(folder)
        return self._clock() - self._asked_at if one is None else one.sensor.silent_seconds

    def _tell_hanging(self) -> None:
        hanging = self.hanging
        for folder in hanging.keys() - self._hanging:
            log.warning(
                "%s: has not answered for %.0f s: is its disk or server away? Other folders go on",
                folder,
                hanging[folder],
            )
        for folder in self._hanging - hanging.keys():
            log.info("%s: it answers again", folder)
        self._hanging = frozenset(hanging)


def _join(left: list[_Running]) -> None:
    deadline = time.monotonic() + LEAVE_SECONDS
    for one in left:
        one.thread.join(max(deadline - time.monotonic(), 0.0))
