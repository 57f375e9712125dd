"""Where the watched folders are."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nightflow.sensor import places as places_module
from nightflow.sensor.places import real_folder


def test_a_folder_is_known_by_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "incoming").symlink_to(tmp_path / "disk")
    assert real_folder(tmp_path / "incoming") == tmp_path / "disk"


def test_a_disk_that_does_not_answer_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(places_module, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(Path, "resolve", lambda self: answers.wait())
    try:
        assert real_folder(tmp_path / "away") == tmp_path / "away"
    finally:
        answers.set()
