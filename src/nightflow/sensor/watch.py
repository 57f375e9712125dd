"""File-system events of the watched folders, as a queue of hints.

An event is a hint and no more: it says where to look now rather than at the next sweep. Nothing is lost when
one is missing, and nothing is believed because of one.
"""

from __future__ import annotations

import logging
import os
import queue
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    EVENT_TYPE_CLOSED,
    EVENT_TYPE_CREATED,
    EVENT_TYPE_MODIFIED,
    EVENT_TYPE_MOVED,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

__all__ = ["FolderWatcher", "Hint", "hint_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Hint:
    """Something happened here."""

    path: Path
    root: Path
    """The watched folder."""
    closed: bool = False
    """The writer closed the file or renamed it into place."""
    folder: bool = False
    """It is a folder: look at all that is in it."""


class FolderWatcher:
    """Watches folders and all below them.

    Attributes
    ----------
    hints : queue.SimpleQueue of Hint
        Where the hints come out.
    """

    def __init__(self) -> None:
        self.hints: queue.SimpleQueue[Hint] = queue.SimpleQueue()
        self._observer = Observer()
        self._watched: dict[Path, ObservedWatch] = {}

    def start(self) -> None:
        """Start the observer's thread."""
        self._observer.start()

    def stop(self) -> None:
        """Stop the observer's thread and wait for it."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)

    def add(self, folder: Path) -> bool:
        """Watch a folder, once; return whether its events will come.

        A folder that is absent (a drive not mounted yet) or whose events the system refuses (the limit of
        inotify watches) is told in the log; the sweeps find its files.
        """
        if folder in self._watched:
            return True
        try:
            watch = self._observer.schedule(_Handler(folder, self.hints), str(folder), recursive=True)
        except OSError as error:
            log.warning("%s: no events from here, only sweeps: %s", folder, error)
            return False
        self._watched[folder] = watch
        return True

    def remove(self, folder: Path) -> None:
        """Watch a folder no more."""
        watch = self._watched.pop(folder, None)
        if watch is not None:
            self._observer.unschedule(watch)


class _Handler(FileSystemEventHandler):
    def __init__(self, root: Path, hints: queue.SimpleQueue[Hint]) -> None:
        self._root = root
        self._hints = hints

    def on_any_event(self, event: FileSystemEvent) -> None:
        hint = hint_of(event, self._root)
        if hint is not None:
            self._hints.put(hint)


def hint_of(event: FileSystemEvent, root: Path) -> Hint | None:
    """Return what an event hints at, None for one that brings no new file (opened, read, deleted)."""
    source, destination = Path(os.fsdecode(event.src_path)), Path(os.fsdecode(event.dest_path))
    if event.is_directory:
        moved = event.event_type == EVENT_TYPE_MOVED
        if moved or event.event_type == EVENT_TYPE_CREATED:
            return Hint(path=destination if moved else source, root=root, folder=True)
        return None
    match event.event_type:
        case t if t == EVENT_TYPE_MOVED:
            return Hint(path=destination, root=root, closed=True)
        case t if t == EVENT_TYPE_CLOSED:
            return Hint(path=source, root=root, closed=True)
        case t if t in (EVENT_TYPE_CREATED, EVENT_TYPE_MODIFIED):
            return Hint(path=source, root=root)
        case _:
            return None
