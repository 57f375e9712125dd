"""What `nightflow scamp` finds wrong before any work, and what it says; SCAMP need not be there."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.commands import scamp


@pytest.mark.parametrize(
    ("name", "message"), [("none/x.ahead", "there is no folder"), ("", "it is a folder")]
)
def test_a_layout_that_cannot_be_written_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    def work(*_: object) -> None:
        pytest.fail("the store was opened")

    monkeypatch.setattr(scamp, "open_store", work)
    done = CliRunner().invoke(app, ["scamp", "light", "--learn", str(tmp_path / name)])
    assert done.exit_code == 1
    assert message in done.stderr
