"""What file-system events hint at, and that they come."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog import events

from nightflow.sensor.watch import FolderWatcher, Hint, hint_of

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
    assert "only sweeps" in caplog.text
    folder.mkdir()
    assert watcher.add(folder)
