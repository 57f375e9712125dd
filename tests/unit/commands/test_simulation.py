from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.demo import night
from nightflow.errors import NightflowError


def test_simulate_writes_frames_catalogue_and_truth(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "n"), "--small", "--lights", "1"])
    assert result.exit_code == 0
    assert f"12 frames in {tmp_path / 'n' / 'raw'}" in result.stdout.replace("\n", "")
    assert len(list((tmp_path / "n" / "raw").glob("*.fits"))) == 12
    assert (tmp_path / "n" / "catalog.csv").is_file()


def test_simulate_into_a_file_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "n").touch()
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "n"), "--small", "--lights", "1"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_a_demo_that_cannot_start_its_server_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise NightflowError("the Prefect server did not start")

    monkeypatch.setattr(night, "run_demo", broken)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert "did not start" in result.output
