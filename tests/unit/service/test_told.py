"""Nobody is told twice, whoever tells."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from nightflow.config import Settings
from nightflow.nights import parse_night
from nightflow.service import notify
from nightflow.service.told import Told, told_file
from tests.unit.service.test_notify import writer
from tests.unit.store.builders import CLEAN_PROCESSES


def claim(file: Path) -> bool:
    return Told(file).claim("failed_frames", 60.0)


def test_of_many_processes_one_tells(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, CLEAN_PROCESSES) as pool:
        assert sum(pool.map(claim, [tmp_path / "told.json"] * 12)) == 1


def test_after_a_while_it_is_told_again_and_other_kinds_at_once(tmp_path: Path) -> None:
    now = [1000.0]
    told = Told(tmp_path / "told.json", clock=lambda: now[0])
    assert told.claim("failed_frames", 60.0)
    assert told.claim("no_frames", 60.0)
    now[0] = 1059.0
    assert not told.claim("failed_frames", 60.0)
    now[0] = 1060.0
    assert told.claim("failed_frames", 60.0)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"failed_frames": "x"}', "\x00\xff"])
def test_a_damaged_file_keeps_nothing_back(tmp_path: Path, content: str) -> None:
    (tmp_path / "told.json").write_text(content)
    assert claim(tmp_path / "told.json")
    assert not claim(tmp_path / "told.json")


def test_a_clock_that_was_set_back_and_a_folder_that_is_away_keep_nothing_back(tmp_path: Path) -> None:
    assert Told(tmp_path / "told.json", clock=lambda: 1e9).claim("failed_frames", 60.0)
    assert Told(tmp_path / "told.json", clock=lambda: 1.0).claim("failed_frames", 60.0)
    assert claim(tmp_path / "none" / "told.json")


def test_the_watcher_and_a_run_share_what_was_told(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, notify=writer(tmp_path / "said"))
    notifier = notify.Notifier(settings.notify, told=Told(told_file(settings.file)))
    notifier.tell("failed_frames", "by the watcher")
    notifier.close(20.0)
    said = notify.tell_once(settings, "failed_frames", "by a run")
    assert said == "not told: failed_frames was told less than 30 minutes ago"
    assert notify.tell_once(settings, "no_frames", "by a run") == "sent"
    assert (tmp_path / "said").read_text() == "failed_frames by the watcher\nno_frames by a run\n"


def test_by_day_what_concerns_the_night_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        root=tmp_path, notify=writer(tmp_path / "said"), site={"latitude": 50.0, "longitude": 0.0}
    )  # type: ignore[arg-type]
    for hour, expected in ((12, "not told: the Sun stands at"), (0, "sent")):

        class Clock:
            @staticmethod
            def now(_: object, hour: int = hour) -> object:
                return parse_night("2026-03-01").replace(hour=hour)

        monkeypatch.setattr(notify, "datetime", Clock)
        assert notify.tell_once(settings, "no_frames", "x", only_at_night=True).startswith(expected)
