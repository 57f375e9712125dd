"""File-system events of the watched folders, as a queue of hints.

An event is a hint and no more: it says where to look now rather than at the next sweep. Nothing is lost when
one is missing, and nothing is believed because of one.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
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

__all__ = ["FolderWatcher", "Hint", "hint_of", "latest", "watch_limit"]

log = logging.getLogger(__name__)

_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


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


@dataclass(frozen=True)
class _Watched:
    watch: ObservedWatch
    identity: tuple[int, int]
    """Device and number of the folder: another one after a mount, or where it was made anew."""


class FolderWatcher:
    """Watches folders and all below them.

    Attributes
    ----------
    hints : queue.SimpleQueue of Hint
        Where the hints come out.
    lost : threading.Event
        Set where events came faster than they were read, so that some are lost: look everywhere.
    """

    def __init__(self) -> None:
        self.hints: queue.SimpleQueue[Hint] = queue.SimpleQueue()
        self.lost = threading.Event()
        self._observer = Observer()
        self._watched: dict[Path, _Watched] = {}
        self._said: dict[Path, str] = {}
        self._overflow = _OverflowListener(self.lost)

    def start(self) -> None:
        """Start the observer's thread."""
        _INOTIFY_LOG.addHandler(self._overflow)
        self._observer.start()

    def stop(self) -> None:
        """Stop the observer's thread and wait for it."""
        _INOTIFY_LOG.removeHandler(self._overflow)
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)

    def add(self, folder: Path) -> bool:
        """Watch a folder, once; return whether its events will come.

        To be called again and again: a folder that was removed, unmounted or replaced since is watched anew
        when it is there. One that is absent or whose events the system refuses (the limit of inotify watches)
        is told in the log once; the sweeps find its files.
        """
        known = self._watched.get(folder)
        try:
            identity = _identity(folder)
            if known is not None and known.identity == identity and self._is_heard(known.watch):
                return True
            self.remove(folder)
            watch = self._observer.schedule(_Handler(folder, self.hints), str(folder), recursive=True)
        except OSError as error:
            self.remove(folder)
            if self._said.get(folder) != str(error):
                self._said[folder] = str(error)
                log.warning("%s: no events from here, only sweeps: %s", folder, error)
            return False
        self._watched[folder] = _Watched(watch, identity)
        if known is not None or self._said.pop(folder, None) is not None:
            log.info("%s: it is there (again), its events are heard", folder)
        return True

    def unheard(self, root: Path, folders: Sequence[Path]) -> list[Path]:
        """Return which of the folders in a watched one are not watched.

        watchdog passes over those that the system refuses (the limit of inotify watches) without a word.
        """
        known = self._watched.get(root)
        if known is None:
            return list(folders)
        heard: set[bytes] | None = None
        for emitter in self._observer.emitters:
            if emitter.watch == known.watch:
                heard = _heard(emitter)
        if heard is None:
            return []
        return [one for one in folders if os.fsencode(one) not in heard and one.is_dir()]

    def remove(self, folder: Path) -> None:
        """Watch a folder no more."""
        known = self._watched.pop(folder, None)
        if known is not None:
            # Of a folder that is gone the system has dropped its watches already.
            with suppress(OSError, KeyError):
                self._observer.unschedule(known.watch)

    def _is_heard(self, watch: ObservedWatch) -> bool:
        if not self._observer.is_alive():
            return True  # not started yet: what is scheduled begins with it
        emitters = [emitter for emitter in self._observer.emitters if emitter.watch == watch]
        return any(emitter.is_alive() and not _is_deaf(emitter) for emitter in emitters)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_deaf(emitter: object) -> bool:
    """Return whether the system has dropped all watches of an emitter, as where a disk is unmounted."""
    heard = _heard(emitter)
    return heard is not None and not heard


def _heard(emitter: object) -> set[bytes] | None:
    """Return the folders that an emitter watches.

    watchdog does not tell: None of a version that keeps its watches elsewhere, which is taken to hear all.
    """
    group = getattr(emitter, "_inotify", None)
    watches: dict[bytes, int] | None = getattr(group, "_active_callbacks_by_path", None)
    return None if watches is None else set(watches.copy())


_INOTIFY_LOG = logging.getLogger("watchdog.observers.inotify_c")


class _OverflowListener(logging.Handler):
    """Hears of lost events where watchdog tells of them: in its log alone."""

    def __init__(self, lost: threading.Event) -> None:
        super().__init__(logging.WARNING)
        self._lost = lost

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._lost.set()


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


def watch_limit() -> int | None:
    """Return how many folders the system watches for a user; None where it does not say."""
    try:
        return int(_LIMIT.read_text())
    except (OSError, ValueError):
        return None


def latest(hints: Sequence[Hint]) -> list[Hint]:
    """Return the last hint of each file or folder: a file that is written gives dozens."""
    return list({(hint.path, hint.folder): hint for hint in hints}.values())
