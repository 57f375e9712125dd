"""A record is one line of the log, whatever stands in it."""

from __future__ import annotations

import logging

import pytest
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.log_lines import LogLines

FORGED = "2026-03-01 22:00:00,000 INFO nothing happened"
SECRET = "Zk7qVmPw"


def formatted(message: str, *arguments: object, error: BaseException | None = None) -> str:
    caught = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("nightflow", logging.INFO, __file__, 1, message, arguments, caught)
    return LogLines("%(levelname)s %(message)s").format(record)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (f"/raw/a\n{FORGED}", f"INFO /raw/a\\n{FORGED}"),
        ("/raw/a\r\x1b[2Kb.fits", "INFO /raw/a\\r\\x1b[2Kb.fits"),
        ("/raw/\u2028\x85\u202e.fits", "INFO /raw/\\u2028\\x85\\u202e.fits"),
        ("/raw/M 67 \u03b1\u03b2.fits", "INFO /raw/M 67 \u03b1\u03b2.fits"),
    ],
)
def test_a_name_neither_begins_a_line_nor_steers_a_terminal(name: str, shown: str) -> None:
    assert formatted("%s", name) == shown


def test_the_lines_of_a_traceback_stay_lines_of_their_own() -> None:
    try:
        raise ValueError(f"/raw/a\x1b[2K\n{FORGED}")
    except ValueError as error:
        first, *below = formatted("odd", error=error).split("\n")
    assert first == "INFO odd"
    assert below[0] == "  Traceback (most recent call last):"
    assert f"  {FORGED}" in below
    assert all(line.startswith("  ") and line.isprintable() for line in below)


def test_no_line_tells_a_password() -> None:
    url = f"http://me:{SECRET}@server:4200/api/runs?api_key={SECRET}"
    said = formatted("%s", f"404 for url '{url}'", error=RuntimeError(url))
    assert "404 for url 'http://me:***@server:4200/api/runs?api_key=***'" in said
    assert SECRET not in said


def test_commands_without_a_log_of_their_own_warn_in_such_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    CliRunner().invoke(app, ["status", "--config", "/nowhere/nightflow.toml"])
    assert logging.lastResort is not None
    logging.lastResort.handle(logging.makeLogRecord({"msg": "a\nb", "levelno": logging.WARNING}))
    assert capsys.readouterr().err == "a\\nb\n"
