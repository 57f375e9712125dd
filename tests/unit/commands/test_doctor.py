from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from nightflow.cli import app
from tests.unit.commands.conftest import Observatory

pytestmark = pytest.mark.xdist_group("commands")


def test_a_night_that_is_ready_has_no_fault(reduced: Observatory) -> None:
    result = reduced("doctor")
    assert result.exit_code == 0, result.output
    assert "fault " not in result.stdout
    assert "0 faults" in result.stdout
    assert "field: 468 stars" in result.stdout
    assert "kernels: " in result.stdout


def test_as_json_each_line_has_its_mend(reduced: Observatory) -> None:
    lines = json.loads(reduced("doctor", "--format", "json").stdout)
    assert {"subject", "level", "message", "mend"} == set(lines[0])
    assert {line["level"] for line in lines} <= {"ok", "note", "warning", "fault"}
    assert all(line["mend"] for line in lines if line["level"] in ("warning", "fault"))
    subjects = {line["subject"] for line in lines}
    assert {"python", "packages", "clock", "settings", "store", "disk", "cameras"} <= subjects
    assert {"catalogues", "index files", "solver", "prefect", "solve-field", "leap seconds"} <= subjects


def test_a_fault_exits_with_1_and_the_others_are_still_told(dome: Observatory) -> None:
    cameras = dome.root / "cameras"
    (cameras / "mine.toml").write_text("name = ")
    result = dome("doctor")
    assert result.exit_code == 1
    assert "fault     cameras" in result.stdout
    assert "-> mend the profile" in result.stdout
    assert "solver" in result.stdout


def test_settings_that_are_wrong_are_to_be_mended(dome: Observatory) -> None:
    file = dome.root / "nightflow.toml"
    file.write_text("[watch\n")
    result = dome("doctor")
    assert result.exit_code == 1
    assert f"-> mend line 1 of {file}" in result.stdout
    assert "nightflow init" not in result.stdout


def test_a_frame_is_explained_without_any_settings(reduced: Observatory) -> None:
    file = reduced.raw / "0012-light-R.fits"
    result = CliRunner().invoke(app, ["doctor", str(file)])
    assert result.exit_code == 0
    assert "camera: simulator" in result.stdout
    assert "filter: FILTER = 'R'" in result.stdout
    assert "all is well" in result.stdout


def test_a_frame_that_is_not_understood_exits_with_1(dome: Observatory) -> None:
    bad = dome.root / "bad.fits"
    bad.touch()
    result = dome("doctor", str(bad))
    assert result.exit_code == 1
    assert "bad.fits: empty file" in result.stdout
