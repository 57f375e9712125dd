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
        self._hanging: frozenset[Path] = frozenset()

    @property
    def waiting(self) -> int:
        """How many files are landing; those that cannot be read are not waited for."""
        return sum(one.sensor.waiting for one in self._running.copy().values())

    @property
    def unreadable(self) -> dict[Path, str]:
        """The files that the system has not let be read for a while, with its reason; for any thread."""
        found: dict[Path, str] = {}
        for one in self._running.copy().values():
            found |= one.sensor.unreadable
        return found

    @property
    def hanging(self) -> dict[Path, float]:
        """The folders that have not answered for a while, and for how many seconds; for any thread."""
        silent = {folder: one.sensor.silent_seconds for folder, one in self._running.copy().items()}
        return {folder: seconds for folder, seconds in silent.items() if seconds >= HANGS_AFTER}

    def look_at(self, places: Places) -> None:
        """Look at other folders, or in another way, from now on; for any thread."""
        self._next_places = places
        for folder, one in self._running.copy().items():
            if folder not in places.folders:
                one.stop.set()

    def run(self, stop: threading.Event) -> None:
        """Look after the threads until told to stop."""
        self._adapt(self._places)
        while not stop.wait(MINDING_SECONDS):
            if self._next_places is not self._places:
                self._adapt(self._next_places)
            self._tell_hanging()
        self._adapt(Places(folders=()))

    def _adapt(self, places: Places) -> None:
        """Begin with folders that are new, leave those that are no more looked at."""
        self._places = places
        left = [
            self._running.pop(folder)
            for folder, one in list(self._running.items())
            if folder not in places.folders or one.stop.is_set()
        ]
        for one in left:
            one.stop.set()
        for folder in places.folders:
            if folder in self._running:
                self._running[folder].sensor.look_at(places)
            else:
                self._running[folder] = self._started(folder, places)
        deadline = time.monotonic() + LEAVE_SECONDS
        for one in left:
            one.thread.join(max(deadline - time.monotonic(), 0.0))

    def _started(self, folder: Path, places: Places) -> _Running:
        sensor = FolderSensor(
            folder, places, registrar=self._registrar, completeness=self._completeness, clock=self._clock
        )
        stop = threading.Event()
        thread = threading.Thread(target=sensor.run, args=(stop,), name=f"sensor {folder}", daemon=True)
        thread.start()
        return _Running(sensor, thread, stop)

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
