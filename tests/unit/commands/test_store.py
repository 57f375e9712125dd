from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from nightflow.store.models import Measurement, Reduction
from tests.unit.commands.conftest import TARGET, Observatory

pytestmark = pytest.mark.xdist_group("commands")


def test_a_reduced_night_is_found_whole(reduced: Observatory) -> None:
    checked = reduced("store", "check")
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.splitlines()[-1] == "all is well"
    findings = json.loads(reduced("store", "check", "--format", "json").stdout)
    assert {one["level"] for one in findings} == {"ok"}
    assert len(findings) == 9


def test_what_is_wrong_is_named_with_its_mend(dome: Observatory) -> None:
    with dome.database as database, database.write() as session:
        session.execute(text("UPDATE source SET n_obs = 7 WHERE id = (SELECT min(id) FROM source)"))
    checked = dome("store", "check")
    assert checked.exit_code == 1
    assert re.search(r"observation counts: 1: source \d+: 7 noted, [123] counted", checked.stdout)
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


def _light_curve(dome: Observatory) -> str:
    shown = dome("lightcurve", "--ra", str(TARGET[0]), "--dec", str(TARGET[1]), "--format", "csv")
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def _supersede_twice(dome: Observatory) -> None:
    """Give a frame two more versions, each a copy of its current one."""
    with dome.database as database, database.write() as session:
        for _ in range(2):
            current = select(Reduction).where(col(Reduction.current)).order_by(col(Reduction.frame_id))
            old = session.exec(current).first()
            assert old is not None
            old.current = False
            session.flush()
            values = old.model_dump(exclude={"id"}) | {"current": True, "version": old.version + 1}
            new = Reduction(**values)
            session.add(new)
            session.flush()
            rows = session.exec(select(Measurement).where(Measurement.reduction_id == old.id)).all()
            session.add_all(Measurement(**(row.model_dump() | {"reduction_id": new.id})) for row in rows)


def test_old_versions_are_pruned_and_their_room_is_freed(
    dome: Observatory, snapshot: Callable[[Observatory], dict[str, list[str]]]
) -> None:
    _supersede_twice(dome)
    before, curve = snapshot(dome), _light_curve(dome)
    kept = dome("store", "prune")
    assert (kept.exit_code, kept.stdout) == (0, "deleted 0 measurements of 0 superseded reductions\n")
    dry = dome("store", "prune", "--older-than", "0", "--dry-run")
    assert dry.stdout.startswith("would delete ")
    assert snapshot(dome) == before
    gone = dome("store", "prune", "--older-than", "0")
    assert gone.stdout == dry.stdout.replace("would delete", "deleted")
    assert gone.stdout.endswith(" measurements of 1 superseded reductions\n")
    assert "`nightflow store vacuum` frees their room" in gone.stderr
    assert _light_curve(dome) == curve
    after = snapshot(dome)
    assert {name for name in after if after[name] != before[name]} == {"measurement"}
    vacuumed = dome("store", "vacuum")
    assert vacuumed.exit_code == 0, vacuumed.output
    assert re.fullmatch(r"[\d.]+ MB before, [\d.]+ MB after\n", vacuumed.stdout)
    assert dome("store", "check").exit_code == 0


def test_a_store_is_backed_up_and_put_back(
    dome: Observatory, tmp_path: Path, snapshot: Callable[[Observatory], dict[str, list[str]]]
) -> None:
    before, curve = snapshot(dome), _light_curve(dome)
    copy = tmp_path / "copy.sqlite"
    made = dome("store", "backup", str(copy))
    assert made.exit_code == 0, made.output
    assert re.fullmatch(rf"{re.escape(str(copy))}: [\d.]+ MB\n", made.stdout)
    again = dome("store", "backup", str(copy))
    assert again.exit_code == 1
    assert "copy.sqlite is there already" in again.stderr
    assert dome("store", "backup", str(copy), "--force").exit_code == 0
    assert dome("targets", "add", "after the backup", "--ra", "1", "--dec", "2").exit_code == 0
    refused = dome("store", "restore", str(copy))
    assert refused.exit_code == 1
    assert "has rows" in refused.stderr
    restored = dome("store", "restore", str(copy), "--force")
    assert restored.exit_code == 0, restored.output
    assert restored.stdout.startswith(f"restored from {copy}")
    old = dome.root / "nightflow.sqlite.before-restore"
    assert f"the old store is {old}" in restored.stderr
    assert old.is_file()
    assert snapshot(dome) == before
    assert _light_curve(dome) == curve
    assert dome("store", "check").exit_code == 0


def test_a_lost_store_is_put_back(
    dome: Observatory, tmp_path: Path, snapshot: Callable[[Observatory], dict[str, list[str]]]
) -> None:
    before = snapshot(dome)
    copy = tmp_path / "copy.sqlite"
    assert dome("store", "backup", str(copy)).exit_code == 0
    for file in dome.root.glob("nightflow.sqlite*"):
        file.unlink()
    assert dome("store", "restore", str(copy)).exit_code == 0
    assert snapshot(dome) == before
