from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.commands.conftest import CALIBRATIONS, LIGHTS, NIGHT, Observatory

pytestmark = pytest.mark.xdist_group("commands")

Snapshot = Callable[[Observatory], dict[str, list[str]]]


def test_the_same_night_again_changes_no_row(dome: Observatory, snapshot: Snapshot) -> None:
    before = snapshot(dome)
    again = dome("run", str(dome.raw))
    assert again.exit_code == 0
    assert f"{LIGHTS + CALIBRATIONS} unchanged" in again.stdout
    assert snapshot(dome) == before


def test_garbage_is_rejected_and_named_but_is_no_failure(empty: Observatory, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / "empty.fits").touch()
    (garbage / "picture.fits").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    result = empty("run", str(garbage))
    assert result.exit_code == 0
    assert "2 rejected" in result.stdout
    assert "empty.fits: empty file" in result.stdout
    assert "picture.fits" in result.stdout


def test_a_bug_in_one_frame_is_a_failure_with_exit_1(
    empty: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightflow.pipeline import reducer

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(reducer._WORKERS, "measure", broken)
    result = empty("run", str(empty.raw))
    assert result.exit_code == 1
    assert f"{CALIBRATIONS} done, {LIGHTS} failed" in result.stdout
    assert "ZeroDivisionError: a bug" in result.stderr
    told = empty("explain", "0012-light-R.fits")
    assert "traceback:" in told.stdout
    assert 'raise ZeroDivisionError("a bug")' in told.stdout


def test_a_run_names_its_nights_and_what_concludes_them(empty: Observatory) -> None:
    bias = str(sorted(empty.raw.glob("*bias*"))[0])
    told = empty("run", bias)
    assert f"reduced frames of {NIGHT}; next: `nightflow finish {NIGHT}`" in told.stderr
    assert "finish" not in empty("run", bias).stderr


def test_a_path_that_is_not_there_exits_with_1(empty: Observatory) -> None:
    result = empty("run", "nowhere")
    assert result.exit_code == 1
    assert "nowhere: no such file or folder" in result.stderr


def test_until_calibrate_measures_nothing(empty: Observatory) -> None:
    dark = empty("run", *map(str, sorted(empty.raw.glob("*light*"))[:1]), "--until", "calibrate")
    assert dark.exit_code == 0
    (row,) = json.loads(empty("frames", "--format", "json").stdout)
    assert row["n_cosmic"] > 0
    assert row["fwhm_px"] is None
    assert row["zp"] is None


def test_a_run_that_stops_early_leaves_the_files_of_the_one_that_stands(dome: Observatory) -> None:
    light = sorted(dome.raw.glob("*light*"))[0]
    (product,) = dome.products.glob(f"{light.stem}-*.fits")
    before = product.read_bytes()
    early = dome("run", str(light), "--until", "calibrate", "--force")
    assert "stopped early; version 1 of the frame stands, in rows and files" in early.stderr
    assert product.read_bytes() == before


def test_backfill_selects_by_night(dome: Observatory, niced: list[int]) -> None:
    plan = dome("backfill", "--dry-run")
    assert f"0 exposures would be reduced; nothing has changed for {LIGHTS + CALIBRATIONS}" in plan.stdout
    assert "--force" in plan.stderr
    assert niced == [15], "behind the live service"
    forced = dome("backfill", "--night", "2025-10-24", "--force", "--dry-run")
    *files, total = forced.stdout.splitlines()
    assert total == f"{LIGHTS + CALIBRATIONS} exposures would be reduced"
    assert {line.partition(": ")[0] for line in files} == {str(file) for file in dome.raw.glob("*.fits")}
    assert f"{min(dome.raw.glob('*light*'))}: light, done" in files
    one = dome("backfill", "--path", str(min(dome.raw.glob("*light*"))), "--force", "--dry-run")
    assert one.stdout.splitlines()[1:] == ["1 exposure would be reduced"]
    landed = dome.root / "landed.fits"
    landed.write_bytes(b"no frame")
    new = dome("backfill", "--path", str(landed), "--dry-run")
    assert new.stdout.splitlines() == [
        f"{landed}: unknown, not yet received",
        "1 exposure would be reduced, 1 of them not yet received",
    ]
    assert str(landed) not in dome("frames", "--format", "json").stdout
    landed.unlink()
    other = dome("backfill", "--since", "2025-10-25", "--force", "--dry-run")
    assert "0 exposures would be reduced" in other.stdout
    unknown = dome("backfill", "--night", "2025-10-25")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "no frame of the night 2025-10-25 is in the ledger; it has 2025-10-24" in unknown.stderr
    wrong = dome("backfill", "--night", "yesterday")
    assert wrong.exit_code == 1
    assert "YYYY-MM-DD" in wrong.stderr


def test_a_backfill_for_which_nothing_has_changed_says_so_and_names_force(dome: Observatory) -> None:
    done = dome("backfill", "--night", "2025-10-24")
    assert done.exit_code == 0
    known = f"{LIGHTS + CALIBRATIONS} exposures"
    assert done.stdout == f"nothing to reduce: nothing has changed for {known} since the last reduction\n"
    assert "`--force`" in done.stderr
    other = dome("backfill", "--since", "2025-10-25")
    assert (other.stdout.strip(), other.stderr) == ("no raw frames found", "")


def test_a_policy_makes_no_finished_frame_worth_another_reduction(
    dome: Observatory, snapshot: Snapshot
) -> None:
    settings = dome.root / "nightflow.toml"
    text = settings.read_text()
    assert '[run]\nmissing_calibration = "warn"' in text
    settings.write_text(
        text.replace('[run]\nmissing_calibration = "warn"', '[run]\nmissing_calibration = "hold"')
    )
    before = snapshot(dome)
    assert f"{LIGHTS + CALIBRATIONS} unchanged" in dome("run", str(dome.raw)).stdout
    assert snapshot(dome) == before
