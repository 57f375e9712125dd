"""The log of the live service."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightflow.service.night_log import NightLog


def line(text: str, when: datetime) -> logging.LogRecord:
    record = logging.LogRecord("nightflow", logging.INFO, __file__, 1, text, None, None)
    record.created = when.timestamp()
    return record


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_a_file_a_night_from_noon_to_noon_and_the_old_ones_go(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    log = NightLog(folder, keep_days=2)
    (tmp_path / "logs").mkdir()
    (folder / "notes.txt").write_text("the observer's own")
    (folder / "watch-2026-03-01.log").write_text("old")
    for day, hour in ((3, 22), (4, 9), (4, 13), (5, 13)):
        log.handle(line(f"{day} {hour}", datetime(2026, 3, day, hour, tzinfo=UTC)))
    log.close()
    assert names(folder) == [
        "notes.txt", "watch-2026-03-03.log", "watch-2026-03-04.log", "watch-2026-03-05.log",
    ]  # fmt: skip
    assert (folder / "watch-2026-03-03.log").read_text() == "3 22\n4 9\n"


def test_the_night_is_that_of_the_site(tmp_path: Path) -> None:
    log = NightLog(tmp_path, keep_days=30, longitude=-155.5)
    log.handle(line("evening on Hawaii", datetime(2026, 3, 2, 5, tzinfo=UTC)))
    log.close()
    assert names(tmp_path) == ["watch-2026-03-01.log"]


def test_processes_write_whole_lines_into_one_file(tmp_path: Path) -> None:
    log = NightLog(tmp_path, keep_days=30)
    when = datetime(2026, 3, 1, 22, tzinfo=UTC)
    log.handle(line("before the fork", when))
    children = []
    for letter in "abc":
        if (pid := os.fork()) == 0:
            for _ in range(200):
                log.handle(line(letter * 500, when))
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    log.close()
    lines = (tmp_path / "watch-2026-03-01.log").read_text().splitlines()
    assert len(lines) == 601
    assert set(lines[1:]) == {letter * 500 for letter in "abc"}


def test_what_cannot_be_written_is_told_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("in the way")
    log = NightLog(tmp_path / "logs", keep_days=30)
    for _ in range(3):
        log.handle(line("x", datetime(2026, 3, 1, 22, tzinfo=UTC)))
    assert capsys.readouterr().err.count("the log is not written") == 1
    (tmp_path / "logs").unlink()
    log.handle(line("again", datetime(2026, 3, 1, 22, tzinfo=UTC)))
    log.close()
    assert (tmp_path / "logs" / "watch-2026-03-01.log").read_text() == "again\n"


def test_text_of_any_kind_is_written(tmp_path: Path) -> None:
    log = NightLog(tmp_path, keep_days=30)
    log.handle(line("ü \udcff", datetime(2026, 3, 1, 22, tzinfo=UTC)))
    log.close()
    assert (tmp_path / "watch-2026-03-01.log").read_text() == "ü \\udcff\n"
