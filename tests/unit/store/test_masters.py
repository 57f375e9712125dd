from __future__ import annotations

from typing import Any

import pytest

from nightflow.instruments.header import FrameKind
from nightflow.store.database import Database
from nightflow.store.frames import settle_frame
from nightflow.store.masters import (
    add_master,
    calibration_frames,
    count_calibration_frames,
    find_masters,
    master_inputs,
    masters,
    masters_of,
    masters_with,
    set_master_state,
)
from nightflow.store.models import Master, State
from nightflow.store.overview import current_reduction
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, add_frame, columns, count, in_processes, later, record, sha, stars


def _flat(database: Database, name: str, **changes: Any) -> int:
    return add_frame(database, name, **({"kind": FrameKind.FLAT} | changes))


def a_master(fingerprint: str = "f1", **changes: Any) -> Master:
    values: dict[str, Any] = {
        "kind": "flat",
        "instrument": "testcam",
        "detector": "1",
        "filter": "V",
        "ny": 100,
        "nx": 120,
        "binning": "1x1",
        "mjd_mid": MJD,
        "valid_from": MJD - 30,
        "valid_until": MJD + 30,
        "path": "/masters/f.fits",
        "fingerprint": fingerprint,
        "n_inputs": 2,
        "statistics": {"median": 1.0},
        "created_at": later(0),
    }
    return Master(**(values | changes))


def test_calibration_frames_match_and_are_in_order(database: Database) -> None:
    late = _flat(database, "a.fits", mjd_mid=MJD + 1)
    early = _flat(database, "b.fits", mjd_mid=MJD)
    _flat(database, "red.fits", filter="R")
    _flat(database, "binned.fits", binning=(2, 2))
    _flat(database, "other.fits", instrument="other")
    add_frame(database, "light.fits")
    found = calibration_frames(
        database, "flat", instrument="testcam", detector="1", match={"filter": "V", "binning": "1x1"}
    )
    assert [one.frame.id for one in found] == [early, late]
    assert (found[0].path, found[0].sha256) == ("/data/b.fits", sha("b.fits"))
    assert count_calibration_frames(database, "flat", instrument="testcam") == 4


def test_calibration_frames_of_a_time(database: Database) -> None:
    ids = [_flat(database, f"{day}.fits", mjd_mid=MJD + day) for day in range(4)]
    timeless = _flat(database, "timeless.fits", mjd_mid=None)
    found = calibration_frames(database, "flat", instrument="testcam", mjd_from=MJD + 1, mjd_until=MJD + 2)
    assert [one.frame.id for one in found] == [*ids[1:3], timeless]


def test_rejected_frames_make_no_master(database: Database) -> None:
    good, bad = _flat(database, "good.fits"), _flat(database, "bad.fits")
    settle_frame(database, good, State.DONE, "")
    settle_frame(database, bad, State.REJECTED, "saturated")
    assert [one.frame.id for one in calibration_frames(database, "flat", instrument="testcam")] == [good]
    assert count_calibration_frames(database, "flat", instrument="testcam") == 1


def test_an_unknown_key_to_match_is_a_bug(database: Database) -> None:
    with pytest.raises(ValueError, match="by object"):
        calibration_frames(database, "flat", instrument="testcam", match={"object": "M 67"})


def test_a_master_is_entered_once_with_its_inputs(database: Database) -> None:
    inputs = [_flat(database, "a.fits"), _flat(database, "b.fits")]
    first = add_master(database, a_master(), inputs)
    again = add_master(database, a_master(), inputs)
    assert first.id == again.id
    assert count(database, "master") == 1
    assert first.id is not None
    assert {one.frame.id for one in master_inputs(database, first.id)} == set(inputs)
    assert masters(database)[0].statistics == {"median": 1.0}


def _add_in_process(url: str) -> int | None:
    with Database(url) as database:
        return add_master(database, a_master(), []).id


def test_processes_that_enter_one_master_at_once(database: Database) -> None:
    assert len(set(in_processes(_add_in_process, [(database.url,)] * 3))) == 1
    assert count(database, "master") == 1


def test_masters_by_kind_and_state(database: Database) -> None:
    flat = add_master(database, a_master("f"), [])
    bias = add_master(database, a_master("b", kind="bias", filter=""), [])
    assert [one.id for one in masters(database, kind="bias")] == [bias.id]
    assert flat.id is not None
    changed = set_master_state(database, flat.id, "rejected", "thumbprint")
    assert changed is not None
    assert (changed.state, changed.reason) == ("rejected", "thumbprint")
    assert [one.id for one in masters(database, instrument="testcam", state="approved")] == [bias.id]
    assert set_master_state(database, 4711, "approved", "") is None


def test_a_state_that_masters_have_not_is_a_bug(database: Database) -> None:
    with pytest.raises(ValueError, match="not 'fine'"):
        set_master_state(database, 1, "fine", "")


def test_masters_of_a_reduction(database: Database) -> None:
    add_master(database, a_master("unused"), [])
    used = add_master(database, a_master("used"), [])
    frame_id = add_frame(database, "light.fits")
    append(database, frame_id, record(masters={"flat": "used"}), columns(*stars(1)), now=later(1))
    reduction = current_reduction(database, frame_id)
    assert reduction is not None
    assert [one.id for one in masters_of(database, reduction)] == [used.id]


def test_a_person_means_a_master_by_number_or_by_the_beginning_of_its_fingerprint(database: Database) -> None:
    for fingerprint in ("abcdef01", "abcdff02", "12345678", "99"):
        add_master(database, a_master(fingerprint), [])

    def meant(text: str) -> list[str]:
        return [row.fingerprint for row in find_masters(database, text)]

    assert meant("2") == ["abcdff02"]
    assert meant("abcde") == ["abcdef01"]
    assert meant("ABCDFF02") == ["abcdff02"]
    assert meant("abcd") == ["abcdef01", "abcdff02"]
    assert meant("1234") == ["12345678"]
    assert [meant(text) for text in ("abc", "", "99", "%%%%", "____", "9" * 40)] == [[]] * 6


def test_a_raw_frame_knows_the_masters_that_it_went_into(database: Database) -> None:
    a, b = _flat(database, "a"), _flat(database, "b")
    add_master(database, a_master("first"), [a])
    add_master(database, a_master("second"), [a, b])
    assert [row.fingerprint for row in masters_with(database, a)] == ["first", "second"]
    assert [row.fingerprint for row in masters_with(database, b)] == ["second"]
    assert masters_with(database, 99) == []
