"""What file-system events hint at, and that they come."""

from __future__ import annotations

import logging
import os
import queue
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from watchdog import events
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD

from nightflow.sensor.watch import FolderWatcher, Hint, hint_of, latest

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
def watcher() -> Iterator[FolderWatcher]:
    watcher = FolderWatcher()
    watcher.start()
    yield watcher
    watcher.stop()


def next_hint(watcher: FolderWatcher, path: Path, *, closed: bool) -> Hint:
    """Return the next hint of this kind about ``path``; `queue.Empty` where none comes."""
    while True:
        hint = watcher.hints.get(timeout=5)
        if hint.path == path and hint.closed == closed:
            return hint


def test_a_written_and_a_renamed_file_are_reported(tmp_path: Path, watcher: FolderWatcher) -> None:
    assert watcher.add(tmp_path)
    (tmp_path / "a.fits").write_bytes(b"x")
    assert next_hint(watcher, tmp_path / "a.fits", closed=True).root == tmp_path
    (tmp_path / ".b.fits.Xy").write_bytes(b"x")
    (tmp_path / ".b.fits.Xy").rename(tmp_path / "b.fits")
    assert next_hint(watcher, tmp_path / "b.fits", closed=True)


def test_a_folder_is_watched_once(tmp_path: Path, watcher: FolderWatcher) -> None:
    assert watcher.add(tmp_path)
    assert watcher.add(tmp_path)
    (tmp_path / "a.fits").write_bytes(b"x")
    next_hint(watcher, tmp_path / "a.fits", closed=True)
    assert not [hint for hint in later_hints(watcher) if hint.closed]


def test_a_folder_that_is_not_watched_any_more_is_silent(tmp_path: Path, watcher: FolderWatcher) -> None:
    assert watcher.add(tmp_path)
    watcher.remove(tmp_path)
    watcher.remove(tmp_path)
    (tmp_path / "a.fits").write_bytes(b"x")
    assert later_hints(watcher) == []
    assert watcher.add(tmp_path)
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
    tmp_path: Path, watcher: FolderWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "not-mounted"
    with caplog.at_level(logging.WARNING):
        assert not watcher.add(folder)
        assert not watcher.add(folder)
    assert caplog.text.count("only sweeps") == 1
    folder.mkdir()
    assert watcher.add(folder)


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_a_folder_that_was_made_anew_is_heard_again(tmp_path: Path, watcher: FolderWatcher, how: str) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    assert watcher.add(folder)
    if how == "deleted":
        folder.rmdir()
    else:
        folder.rename(tmp_path / "last-night")
    later_hints(watcher)
    folder.mkdir()
    assert watcher.add(folder)
    (folder / "a.fits").write_bytes(b"x")
    next_hint(watcher, folder / "a.fits", closed=True)


def test_a_folder_that_is_away_for_a_while_is_heard_again(tmp_path: Path, watcher: FolderWatcher) -> None:
    folder, elsewhere = tmp_path / "incoming", tmp_path / "elsewhere"
    folder.mkdir()
    assert watcher.add(folder)
    folder.rename(elsewhere)
    assert not watcher.add(folder)
    elsewhere.rename(folder)
    assert watcher.add(folder)
    (folder / "a.fits").write_bytes(b"x")
    next_hint(watcher, folder / "a.fits", closed=True)


def test_a_disk_that_was_unmounted_and_mounted_again_is_heard_again(
    tmp_path: Path, watcher: FolderWatcher
) -> None:
    """Between two looks: the folder is the same one then, but the system has dropped its watches."""
    folder, disk = tmp_path / "incoming", tmp_path / "disk"
    folder.mkdir()
    disk.mkdir()
    with mounted(disk, folder):
        assert watcher.add(folder)
    later_hints(watcher)
    with mounted(disk, folder):
        assert watcher.add(folder)
        (folder / "a.fits").write_bytes(b"x")
        next_hint(watcher, folder / "a.fits", closed=True)
        watcher.remove(folder)


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
    assert watcher.add(tmp_path)
    assert not watcher.lost.is_set()
    InotifyFD.get_instance().handle_event(InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b""))
    assert watcher.lost.is_set()
    (tmp_path / "a.fits").write_bytes(b"x")
    next_hint(watcher, tmp_path / "a.fits", closed=True)
