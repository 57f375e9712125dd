"""File-system events of the watched folders, as a queue of hints.

An event is a hint and no more: it says where to look now rather than at the next sweep. Nothing is lost when
one is missing, and nothing is believed because of one.
"""

from __future__ import annotations

import errno
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
from watchdog.observers.api import BaseObserver
from watchdog.utils import BaseThread

__all__ = ["FolderWatcher", "Hint", "hint_of", "latest", "watch_limit"]

log = logging.getLogger(__name__)

_LIMITS = Path("/proc/sys/fs/inotify")
_END_SECONDS = 5.0


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
    """A folder that is watched, by threads of its own: one whose disk hangs deafens no other."""

    observer: BaseObserver
    identity: tuple[int, int]
    """Device and number of the folder: another one after a mount, or where it was made anew."""

    def is_heard(self) -> bool:
        """Return whether all threads live, and the system has not dropped all watches (an unmounted disk).

        watchdog's reader ends where a folder was moved out of the tree, another one took its name, and both
        were deleted; of a folder that is gone its emitter ends.
        """
        emitters = list(self.observer.emitters)
        threads: list[threading.Thread] = [self.observer, *emitters, *_readers(self.observer)]
        return bool(emitters) and all(one.is_alive() for one in threads) and self.folders() != set()

    def folders(self) -> set[bytes] | None:
        """Return the folders that are heard; None of a watchdog that keeps its watches elsewhere: all."""
        heard: set[bytes] = set()
        for emitter in self.observer.emitters:
            group = getattr(emitter, "_inotify", None)
            watches: dict[bytes, int] | None = getattr(group, "_active_callbacks_by_path", None)
            if watches is None:
                return None
            # Below zero: the system did not let it be watched (EACCES), which watchdog takes for a success.
            heard |= {path for path, number in watches.copy().items() if number >= 0}
        return heard


class FolderWatcher:
    """Watches a folder and all below it.

    Parameters
    ----------
    folder : Path
        Absolute; it need not exist.

    Attributes
    ----------
    hints : queue.SimpleQueue of Hint
        Where the hints come out.
    lost : threading.Event
        Set where events came faster than they were read, so that some are lost: look everywhere.
    """

    def __init__(self, folder: Path) -> None:
        self.hints: queue.SimpleQueue[Hint] = queue.SimpleQueue()
        self.lost = threading.Event()
        self._folder = folder
        self._started = False
        self._watched: _Watched | None = None
        self._said = ""
        self._overflow = _OverflowListener(self.lost)

    def start(self) -> None:
        """Let `watch` watch; before, nothing is opened and nothing heard."""
        _INOTIFY_LOG.addHandler(self._overflow)
        self._started = True

    def stop(self) -> None:
        """Watch no more; all that was opened is closed."""
        _INOTIFY_LOG.removeHandler(self._overflow)
        self._started = False
        self._close()

    def watch(self) -> bool:
        """Watch the folder; return whether its events will come.

        To be called again and again: a folder that was removed, unmounted or replaced since, or whose events
        nobody reads any more, is watched anew when it is there. One that is absent or whose events the system
        refuses is told in the log once; the sweeps find its files.
        """
        if not self._started:
            return False
        known = self._watched
        try:
            identity = _identity(self._folder)
            if known is not None and known.identity == identity and known.is_heard():
                return True
            self._close()
            self._watched = _Watched(self._opened(), identity)
        except Exception as error:  # noqa: BLE001  # whatever watchdog stumbles over, the sweeps go on
            self._close()
            self._tell(error)
            return False
        if known is not None or self._said:
            log.info("%s: it is there (again), its events are heard", self._folder)
        self._said = ""
        return True

    def unheard(self, folders: Sequence[Path]) -> list[Path]:
        """Return which folders inside the watched one, or itself, are not watched.

        watchdog passes over those that the system refuses (the limit of inotify watches) without a word.
        """
        if not self._started:
            return []
        heard = set() if self._watched is None else self._watched.folders()
        if heard is None:
            return []
        return [one for one in folders if os.fsencode(one) not in heard and one.is_dir()]

    def _opened(self) -> BaseObserver:
        # watchdog leaves its descriptors open where its thread cannot begin: whether one can is tried before.
        trial = threading.Thread(target=lambda: None)
        trial.start()
        trial.join()
        observer = Observer()
        try:
            observer.start()
            observer.schedule(_Handler(self._folder, self.hints), str(self._folder), recursive=True)
        except BaseException:
            _end(observer)
            raise
        return observer

    def _close(self) -> None:
        watched, self._watched = self._watched, None
        if watched is not None:
            _end(watched.observer)

    def _tell(self, error: Exception) -> None:
        if self._said != str(error):
            self._said = str(error)
            log.warning("%s: no events from here, only sweeps: %s%s", self._folder, error, _remedy(error))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _readers(observer: BaseObserver) -> list[BaseThread]:
    """Return the thread that reads what the system tells; none of a watchdog that reads in another way."""
    reader = getattr(observer, "_inotify_fd", None)
    return [] if reader is None else [reader]


def _end(observer: BaseObserver) -> None:
    """End the threads of an observer and close what it has open."""
    # Of a folder that is gone the system has dropped its watches already.
    with suppress(OSError, KeyError):
        observer.stop()
    for thread in (observer, *_readers(observer)):
        with suppress(OSError):
            thread.stop()
        if thread.is_alive():
            thread.join(timeout=_END_SECONDS)


def _remedy(error: Exception) -> str:
    match error.errno if isinstance(error, OSError) else None:
        case errno.EMFILE:
            return (
                f": raise fs.inotify.max_user_instances (sysctl; now {_limit('instances') or 'unknown'}), "
                "or the limit of open files (ulimit -n)"
            )
        case errno.ENOSPC:
            return f": raise fs.inotify.max_user_watches (sysctl; now {watch_limit() or 'unknown'})"
        case _:
            return ""


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
    return _limit("watches")


def _limit(of: str) -> int | None:
    try:
        return int((_LIMITS / f"max_user_{of}").read_text())
    except (OSError, ValueError):
        return None


def latest(hints: Sequence[Hint]) -> list[Hint]:
    """Return the last hint of each file or folder: a file that is written gives dozens."""
    return list({(hint.path, hint.folder): hint for hint in hints}.values())
