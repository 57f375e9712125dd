"""Tables of the commands, on terminals of any width."""

from __future__ import annotations

import pytest
import typer

from nightflow.commands import common
from nightflow.commands.common import TableFormat, fail, note, print_rows, say

ROWS = [
    {"id": 1, "kind": "bias", "filter": "", "fingerprint": "aac6bf2cb0bc", "reason": ""},
    {"id": 2, "kind": "flat", "filter": "", "fingerprint": "c1f81223a0ff", "reason": "a thumbprint of 4.1 %"},
]
COLUMNS = ("id", "kind", "filter", "fingerprint", "reason")


@pytest.fixture(params=[40, 160])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(common.console, "_width", request.param)
    return int(request.param)


def test_nothing_is_cut_and_empty_columns_are_left_out(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    print_rows(ROWS, COLUMNS, TableFormat.TABLE)
    printed = capsys.readouterr().out
    assert "filter" not in printed
    for text in ("aac6bf2cb0bc", "c1f81223a0ff"):
        assert text in printed
    joined = " ".join(printed.split())
    assert "a thumbprint of 4.1 %" in joined
    assert max(map(len, printed.splitlines())) <= width


def test_a_reason_without_room_names_its_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common.console, "_width", 40)
    print_rows(ROWS, COLUMNS, TableFormat.TABLE)
    assert "2 flat c1f81223a0ff: a thumbprint" in capsys.readouterr().out


def test_text_that_would_steer_the_terminal_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"id": 1, "reason": "\x1b[31m[red]no[/red]\n"}], ("id", "reason"), TableFormat.TABLE)
    note("a\x1b[31m\nb")
    say("a\x1b[31m\nb")
    with pytest.raises(typer.Exit):
        fail("a\x1b[31m\nb")
    printed, told = capsys.readouterr()
    assert "\x1b" not in printed + told
    assert "\\x1b[31m[red]no[/red]\\n" in printed
    assert printed.endswith("a\\x1b[31m\\nb\n")
    # The lines of an error stay lines.
    assert told == "a\\x1b[31m\\nb\nnightflow: a\\x1b[31m\nb\n"
