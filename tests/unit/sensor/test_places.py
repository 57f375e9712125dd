"""Where the watched folders are."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nightflow.sensor import places as places_module
from nightflow.sensor.places import real_folders


def test_a_folder_is_known_by_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "incoming").symlink_to(tmp_path / "disk")
    assert real_folders([tmp_path / "incoming"]) == [tmp_path / "disk"]


def test_a_disk_that_does_not_answer_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(places_module, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(Path, "resolve", lambda self: answers.wait())
    try:
        assert real_folders([tmp_path / "away"]) == [tmp_path / "away"]
    finally:
        answers.set()


def test_disks_are_asked_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_asked = threading.Barrier(3)
    monkeypatch.setattr(places_module, "ANSWER_SECONDS", 20.0)
    monkeypatch.setattr(Path, "resolve", lambda self: (all_asked.wait(20), self / "real")[1])
    named = [tmp_path / name for name in ("a", "b", "c")]
    assert real_folders(named) == [folder / "real" for folder in named]
