"""What file-system events hint at, and that they come."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from watchdog import events
from watchdog.observers import inotify_c
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD

from nightflow.sensor.watch import FolderWatcher, Hint, hint_of, latest
from tests.unit.sensor.open_instances import open_instances

ROOT = Path("/incoming")


@pytest.mark.parametrize(
    ("event", "hint"),
    [
        (events.FileCreatedEvent("/incoming/a.fits"), Hint(path=ROOT / "a.fits", root=ROOT)),
        (events.FileModifiedEvent("/incoming/a.fits"), Hint(path=ROOT / "a.fits", root=ROOT)),
        (events.FileClosedEvent("/incoming/a.fits"), Hint(path=ROOT / "a.fits", root=ROOT, closed=True)),
        (
            events.FileMovedEvent("/incoming/.a.fits.Xy", "/incoming/a.fits"),
            Hint(path=ROOT / "a.fits", root=ROOT, closed=True),
        ),
        (events.DirCreatedEvent("/incoming/night"), Hint(path=ROOT / "night", root=ROOT, folder=True)),
        (
            events.DirMovedEvent("/incoming/.night", "/incoming/night"),
            Hint(path=ROOT / "night", root=ROOT, folder=True),
        ),
        (events.FileOpenedEvent("/incoming/a.fits"), None),
        (events.FileClosedNoWriteEvent("/incoming/a.fits"), None),
        (events.FileDeletedEvent("/incoming/a.fits"), None),
        (events.DirModifiedEvent("/incoming"), None),
    ],
)
def test_hint_of(event: events.FileSystemEvent, hint: Hint | None) -> None:
    assert hint_of(event, ROOT) == hint


def test_the_last_hint_of_a_file_counts() -> None:
    one, closed = Hint(path=ROOT / "a.fits", root=ROOT), Hint(path=ROOT / "a.fits", root=ROOT, closed=True)
    folder = Hint(path=ROOT / "a.fits", root=ROOT, folder=True)
    assert latest([one, folder, one, closed]) == [closed, folder]
    assert latest([closed, one]) == [one], "it was opened again"


@pytest.fixture
def watcher_of() -> Iterator[Callable[[Path], FolderWatcher]]:
    started: list[FolderWatcher] = []

    def watcher(folder: Path) -> FolderWatcher:
        started.append(FolderWatcher(folder))
        started[-1].start()
        return started[-1]

    yield watcher
    for one in started:
        one.stop()


@pytest.fixture
def watcher(tmp_path: Path, watcher_of: Callable[[Path], FolderWatcher]) -> FolderWatcher:
    return watcher_of(tmp_path)


def next_hint(watcher: FolderWatcher, path: Path, *, closed: bool) -> Hint:
    """Return the next hint of this kind about ``path``; `queue.Empty` where none comes."""
    while True:
        hint = watcher.hints.get(timeout=5)
        if hint.path == path and hint.closed == closed:
            return hint


def test_a_written_and_a_renamed_file_are_reported(tmp_path: Path, watcher: FolderWatcher) -> None:
    assert watcher.watch()
    (tmp_path / "a.fits").write_bytes(b"x")
    assert next_hint(watcher, tmp_path / "a.fits", closed=True).root == tmp_path
    (tmp_path / ".b.fits.Xy").write_bytes(b"x")
    (tmp_path / ".b.fits.Xy").rename(tmp_path / "b.fits")
    assert next_hint(watcher, tmp_path / "b.fits", closed=True)


def test_a_folder_is_watched_once(tmp_path: Path, watcher: FolderWatcher) -> None:
    assert watcher.watch()
    assert watcher.watch()
    (tmp_path / "a.fits").write_bytes(b"x")
    next_hint(watcher, tmp_path / "a.fits", closed=True)
    assert not [hint for hint in later_hints(watcher) if hint.closed]


def test_a_folder_that_is_not_watched_any_more_is_silent(tmp_path: Path, watcher: FolderWatcher) -> None:
    assert watcher.watch()
    watcher.stop()
    watcher.stop()
    (tmp_path / "a.fits").write_bytes(b"x")
    assert later_hints(watcher) == []
    watcher.start()
    assert watcher.watch()
    (tmp_path / "b.fits").write_bytes(b"x")
    next_hint(watcher, tmp_path / "b.fits", closed=True)


def later_hints(watcher: FolderWatcher) -> list[Hint]:
    """Return what comes until nothing has come for a while."""
    hints: list[Hint] = []
    try:
        while True:
            hints.append(watcher.hints.get(timeout=0.3))
    except queue.Empty:
        return hints


def test_an_absent_folder_is_told_and_may_come_later(
    tmp_path: Path, watcher_of: Callable[[Path], FolderWatcher], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "not-mounted"
    watcher = watcher_of(folder)
    with caplog.at_level(logging.WARNING):
        assert not watcher.watch()
        assert not watcher.watch()
    assert caplog.text.count("only sweeps") == 1
    folder.mkdir()
    assert watcher.watch()


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_a_folder_that_was_made_anew_is_heard_again(
    tmp_path: Path, watcher_of: Callable[[Path], FolderWatcher], how: str
) -> None:
    folder = tmp_path / "incoming"
    watcher = watcher_of(folder)
    folder.mkdir()
    assert watcher.watch()
    if how == "deleted":
        folder.rmdir()
    else:
        folder.rename(tmp_path / "last-night")
    later_hints(watcher)
    folder.mkdir()
    assert watcher.watch()
    (folder / "a.fits").write_bytes(b"x")
    next_hint(watcher, folder / "a.fits", closed=True)


def test_a_folder_that_is_away_for_a_while_is_heard_again(
    tmp_path: Path, watcher_of: Callable[[Path], FolderWatcher]
) -> None:
    folder, elsewhere = tmp_path / "incoming", tmp_path / "elsewhere"
    watcher = watcher_of(folder)
    folder.mkdir()
    assert watcher.watch()
    folder.rename(elsewhere)
    assert not watcher.watch()
    elsewhere.rename(folder)
    assert watcher.watch()
    (folder / "a.fits").write_bytes(b"x")
    next_hint(watcher, folder / "a.fits", closed=True)


def test_a_disk_that_was_unmounted_and_mounted_again_is_heard_again(
    tmp_path: Path, watcher_of: Callable[[Path], FolderWatcher]
) -> None:
    """Between two looks: the folder is the same one then, but the system has dropped its watches."""
    folder, disk = tmp_path / "incoming", tmp_path / "disk"
    watcher = watcher_of(folder)
    folder.mkdir()
    disk.mkdir()
    with mounted(disk, folder):
        assert watcher.watch()
    later_hints(watcher)
    with mounted(disk, folder):
        assert watcher.watch()
        (folder / "a.fits").write_bytes(b"x")
        next_hint(watcher, folder / "a.fits", closed=True)
        watcher.stop()


@contextmanager
def mounted(disk: Path, folder: Path) -> Iterator[None]:
    """Mount a small file system that keeps what is on it."""
    image = disk / "image"
    if not image.exists():
        image.write_bytes(b"")
        os.truncate(image, 1 << 20)
        made = subprocess.run(["mkfs.ext4", "-q", "-F", image], check=False, capture_output=True)
        if made.returncode:
            pytest.skip("no file system can be made here")
    done = subprocess.run(["mount", "-o", "loop", image, folder], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True, timeout=10)


def test_events_that_the_system_dropped_are_told(tmp_path: Path, watcher: FolderWatcher) -> None:
    """As watchdog takes the kernel's word for it; to provoke that takes 16,384 events that nobody reads."""
    assert watcher.watch()
    assert not watcher.lost.is_set()
    InotifyFD.get_instance().handle_event(InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b""))
    assert watcher.lost.is_set()
    (tmp_path / "a.fits").write_bytes(b"x")
    next_hint(watcher, tmp_path / "a.fits", closed=True)


def test_where_the_system_has_no_more_instances_it_is_told_once_how_to_get_some(
    tmp_path: Path,
    watcher: FolderWatcher,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(_: object) -> int:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    with monkeypatch.context() as full, caplog.at_level(logging.WARNING):
        full.setattr(InotifyFD, "_create_inotify_fd", classmethod(refuse))
        assert not watcher.watch()
        assert not watcher.watch()
    [record] = caplog.records
    assert f"{tmp_path}: no events from here, only sweeps" in record.message
    assert "raise fs.inotify.max_user_instances" in record.message
    assert watcher.watch()
    (tmp_path / "a.fits").write_bytes(b"x")
    next_hint(watcher, tmp_path / "a.fits", closed=True)


@pytest.mark.parametrize("begun", [0, 2, 3])
def test_where_the_system_has_no_more_threads_nothing_is_left_open(
    tmp_path: Path,
    watcher: FolderWatcher,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    begun: int,
) -> None:
    start, before = threading.Thread.start, open_instances()
    with monkeypatch.context() as full:
        left = begun

        def refuse(self: threading.Thread) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise RuntimeError("can't start new thread")
            start(self)

        full.setattr(threading.Thread, "start", refuse)
        assert not watcher.watch()
    assert open_instances() == before
    assert "only sweeps: can't start new thread" in caplog.text
    assert watcher.watch()
    (tmp_path / "a.fits").write_bytes(b"x")
    next_hint(watcher, tmp_path / "a.fits", closed=True)
    watcher.stop()
    assert open_instances() == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_night_that_was_archived_and_its_successor_deleted_deafens_nobody(
    tmp_path: Path, watcher_of: Callable[[Path], FolderWatcher]
) -> None:
    """watchdog's reader ends with a KeyError: both folders had the same name in its books."""
    folder, archive = tmp_path / "incoming", tmp_path / "archive"
    watcher = watcher_of(folder)
    (folder / "tonight").mkdir(parents=True)
    assert watcher.watch()
    (folder / "tonight").rename(archive)
    later_hints(watcher)
    (folder / "tonight").mkdir()
    later_hints(watcher)
    (folder / "tonight").rmdir()
    archive.rmdir()
    later_hints(watcher)
    assert watcher.watch()
    (folder / "a.fits").write_bytes(b"x")
    next_hint(watcher, folder / "a.fits", closed=True)


def test_a_folder_whose_watch_the_system_refused_is_not_taken_for_heard(
    tmp_path: Path, watcher: FolderWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """watchdog takes EACCES for a success, with a watch of number -1."""
    night = tmp_path / "night"
    night.mkdir()
    add = inotify_c.inotify_add_watch

    def refuse(instance: int, path: bytes, mask: int) -> int:
        if path == os.fsencode(night):
            ctypes.set_errno(errno.EACCES)
            return -1
        return int(add(instance, path, mask))

    monkeypatch.setattr(inotify_c, "inotify_add_watch", refuse)
    assert watcher.watch()
    assert watcher.unheard([tmp_path, night]) == [night]
