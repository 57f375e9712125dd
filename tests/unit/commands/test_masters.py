from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from nightflow.store.models import Master
from tests.unit.commands.conftest import CALIBRATIONS, LIGHTS, Observatory

pytestmark = pytest.mark.xdist_group("commands")


STATES = {"bias": "approved", "dark": "provisional", "flat": "provisional"}
"""Of the simulated night: three darks and three flats are no more than needed."""


def listed(dome: Observatory, kind: str | None = None) -> list[dict[str, Any]]:
    words = ["--kind", kind] if kind else []
    return json.loads(dome("masters", "list", *words, "--format", "json").stdout)


def used(dome: Observatory) -> list[str]:
    rows = json.loads(dome("frames", "--format", "json").stdout)
    return [row["masters"] for row in rows if row["kind"] == "light"]


def test_list_names_each_with_its_inputs(reduced: Observatory) -> None:
    rows = listed(reduced)
    assert {row["kind"]: row["n_inputs"] for row in rows} == {"bias": 5, "dark": 3, "flat": 3}
    assert {row["kind"]: row["state"] for row in rows} == STATES
    assert {row["kind"]: row["reason"] for row in rows} == {
        "bias": "5 inputs; the first of its kind",
        "dark": "3 inputs, no more than needed",
        "flat": "3 inputs, no more than needed",
    }
    assert [row["kind"] for row in listed(reduced, "flat")] == ["flat"]
    assert listed(reduced, "bias")[0]["fingerprint"][:6] in reduced("masters", "list").stdout
    bias, _, flat = rows
    assert bias["noise"] > bias["level"] > 0
    assert flat["level"] == pytest.approx(1, abs=1e-3)
    assert flat["measured_gain"] == pytest.approx(1.4, rel=0.1)
    assert bias["measured_read_noise_adu"] > 0
    assert reduced("masters", "list", "--instrument", "nobodys", "--format", "csv").stdout.count("\n") == 1


def test_build_is_done_ahead_of_the_lights_and_once(empty: Observatory) -> None:
    assert "no calibration frames" in empty("masters", "build").stderr
    calibrations = [str(file) for file in sorted(empty.raw.glob("*")) if "light" not in file.name]
    assert len(calibrations) == CALIBRATIONS
    empty("run", *calibrations)
    assert listed(empty) == []
    built = json.loads(empty("masters", "build", "--format", "json").stdout)
    assert {row["kind"]: row["state"] for row in built} == STATES
    before = listed(empty)
    empty("masters", "build", "--night", "2025-10-24")
    assert listed(empty) == before
    assert json.loads(empty("masters", "build", "--night", "2025-10-23", "--format", "json").stdout) == []


def test_build_of_an_unknown_camera_or_night_is_refused(reduced: Observatory) -> None:
    camera = reduced("masters", "build", "--instrument", "nobodys")
    assert camera.exit_code == 1
    assert "simulator" in camera.stderr
    assert reduced("masters", "build", "--night", "tonight").exit_code == 1


def test_a_rejected_master_is_used_no_more_and_an_approved_one_again(dome: Observatory) -> None:
    (flat,) = listed(dome, "flat")
    rejected = dome("masters", "reject", flat["fingerprint"][:10], "--reason", "clouds")
    assert rejected.exit_code == 0
    assert "is rejected: clouds" in rejected.stdout
    assert listed(dome, "flat")[0]["reason"] == "clouds"
    again = dome("run", str(dome.raw))
    assert f"{LIGHTS} done, {CALIBRATIONS} unchanged" in again.stdout
    assert all("flat:" not in masters and "bias:" in masters for masters in used(dome))
    dome("masters", "approve", str(flat["id"]))
    assert f"{LIGHTS} done" in dome("run", str(dome.raw)).stdout
    assert all(f"flat:{flat['fingerprint'][:8]}" in masters for masters in used(dome))


def test_frames_that_used_a_rejected_master_are_queued(dome: Observatory) -> None:
    (bias,) = listed(dome, "bias")
    rejected = dome("masters", "reject", str(bias["id"]), "--reason", "light leak")
    assert f"{LIGHTS} exposures that used it are queued" in rejected.stderr
    rows = json.loads(dome("frames", "--format", "json").stdout)
    assert {row["state"] for row in rows if row["kind"] == "light"} == {"received"}
    assert all("bias:" in masters for masters in used(dome)), "the old reductions stay until then"


def test_a_rejected_bias_makes_a_new_flat_that_does_without(dome: Observatory) -> None:
    (bias,) = listed(dome, "bias")
    (flat,) = listed(dome, "flat")
    dome("masters", "reject", str(bias["id"]), "--reason", "light leak")
    assert dome("run", str(dome.raw)).exit_code == 0
    assert len(listed(dome, "flat")) == 2
    assert all(flat["fingerprint"][:8] not in masters for masters in used(dome))


def test_frames_held_for_a_master_go_on_when_it_is_approved(dome: Observatory) -> None:
    settings = dome.root / "nightflow.toml"
    settings.write_text(
        settings.read_text().replace(
            'missing_calibration = "warn" # or "hold"', 'missing_calibration = "hold"'
        )
    )
    (flat,) = listed(dome, "flat")
    dome("masters", "reject", str(flat["id"]), "--reason", "clouds")
    held = dome("run", str(dome.raw))
    assert f"{LIGHTS} held" in held.stdout
    assert "the master of them is rejected" in held.stdout
    approved = dome("masters", "approve", str(flat["id"]))
    assert f"{LIGHTS} exposures that waited" in approved.stderr
    assert f"{LIGHTS} done" in dome("run", str(dome.raw)).stdout


def test_csv_has_every_number_and_the_reason(reduced: Observatory) -> None:
    (row, *_) = csv.DictReader(
        io.StringIO(reduced("masters", "list", "--kind", "flat", "--format", "csv").stdout)
    )
    assert (row["state"], row["reason"]) == ("provisional", "3 inputs, no more than needed")
    assert float(row["measured_gain"]) > 0
    assert float(row["noise"]) > 0
    assert float(row["valid_until"]) - float(row["valid_from"]) == pytest.approx(60)


def test_a_set_that_made_none_cannot_be_approved(dome: Observatory) -> None:
    (flat,) = listed(dome, "flat")
    with dome.database as database, database.write() as session:
        row = session.get(Master, flat["id"])
        assert row is not None
        row.path, row.state, row.reason = "", "rejected", "0 of 3 inputs usable"
    refused = dome("masters", "approve", str(flat["id"]))
    assert refused.exit_code == 1
    assert "was never made: 0 of 3 inputs usable" in refused.stderr
    fingerprint = listed(dome, "flat")[0]["fingerprint"]
    assert f"masters retry {fingerprint[:12]}" in refused.stderr
    assert "is tried again when a frame needs it" in dome("masters", "retry", fingerprint).stdout
    assert listed(dome, "flat") == []
    dome("masters", "build")
    (again,) = listed(dome, "flat")
    assert (again["fingerprint"], again["state"]) == (fingerprint, "provisional")
    made = dome("masters", "retry", fingerprint)
    assert made.exit_code == 1
    assert "was made" in made.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["approve", "999"], "no master is called '999'"),
        (["approve", "ab"], "no master is called 'ab'"),
        (["reject", "1", "--reason", "  "], "say why"),
        (["approve", "%"], "no master is called '%'"),
    ],
)
def test_what_cannot_be_meant_exits_with_1(reduced: Observatory, words: list[str], message: str) -> None:
    result = reduced("masters", *words)
    assert result.exit_code == 1
    assert message in result.stderr
    assert {row["kind"]: row["state"] for row in listed(reduced)} == STATES
