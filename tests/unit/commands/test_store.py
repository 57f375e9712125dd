from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.unit.commands.conftest import Observatory

pytestmark = pytest.mark.xdist_group("commands")


def test_a_reduced_night_is_found_whole(reduced: Observatory) -> None:
    checked = reduced("store", "check")
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.splitlines()[-1] == "all is well"
    findings = json.loads(reduced("store", "check", "--format", "json").stdout)
    assert {one["level"] for one in findings} == {"ok"}
    assert len(findings) == 8


def test_what_is_wrong_is_named_with_its_mend(dome: Observatory) -> None:
    with dome.database as database, database.write() as session:
        session.execute(text("UPDATE source SET n_obs = n_obs + 1 WHERE id = 5"))
    checked = dome("store", "check")
    assert checked.exit_code == 1
    assert "observation counts: 1: source 5: 4 noted, 3 counted" in checked.stdout
    assert "`nightflow store check --mend` counts them again" in checked.stdout
    mended = dome("store", "check", "--mend")
    assert mended.exit_code == 0
    assert "1 sources were counted or placed anew" in mended.stderr


def test_files_that_are_gone_are_no_fault(dome: Observatory) -> None:
    master = next(Path(dome.root / "masters").glob("*-flat-*"))
    master.unlink()
    checked = dome("store", "check")
    assert checked.exit_code == 0
    assert f"files of masters: 1: {master}" in checked.stdout
    assert "they are built again when they are needed" in checked.stdout
