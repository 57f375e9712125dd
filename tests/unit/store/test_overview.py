from __future__ import annotations

import numpy as np

from nightflow.store.database import Database
from nightflow.store.frames import record_frames, settle_frame
from nightflow.store.last_error import last_error
from nightflow.store.leases import lease
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import State
from nightflow.store.overview import (
    FRAME_COLUMNS,
    counts,
    current_reduction,
    done_last,
    find_exposures,
    flag_counts,
    frame_rows,
    queue_length,
    reductions_of,
)
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, START, add_frame, columns, header, later, record, sha, stars


def _receive(database: Database, path: str, content: str = "") -> int:
    return receive(database, path, sha(content or path), 100, now=START).exposure_id


def test_counts_queue_and_last_error(database: Database) -> None:
    ids = [_receive(database, f"/data/{number}.fits") for number in range(4)]
    assert last_error(database) is None
    lease(database, "w", now=START, seconds=60)
    settle_exposure(database, ids[2], State.REJECTED, "truncated", now=later(5))
    settle_exposure(database, ids[3], State.FAILED, "KeyError", now=later(4))
    assert {state: n for state, n in counts(database).items() if n} == {
        State.RECEIVED: 1,
        State.REDUCING: 1,
        State.REJECTED: 1,
        State.FAILED: 1,
    }
    assert set(counts(database)) == set(State)
    assert queue_length(database) == 2
    error = last_error(database)
    assert error is not None
    assert error.reason == "truncated"


def test_what_was_done_last(database: Database) -> None:
    ids = [_receive(database, f"/data/{number}.fits") for number in range(5)]
    assert done_last(database, 2) == []
    for exposure_id, seconds in zip(ids, (3, 1, 2, 4), strict=False):
        settle_exposure(database, exposure_id, State.DONE, "", now=later(seconds))
    settle_exposure(database, ids[4], State.HELD, "no flat", now=later(5))
    assert done_last(database, 3) == [ids[2], ids[0], ids[3]]


def test_garbage_has_one_row_with_hdu_0(database: Database) -> None:
    exposure_id = _receive(database, "/data/picture.fits")
    settle_exposure(database, exposure_id, State.REJECTED, "a PNG, not FITS", now=later(1))
    (row,) = frame_rows(database)
    assert tuple(row) == (*FRAME_COLUMNS, "exposure_id", "reduction_id")
    assert (row["hdu"], row["kind"], row["state"], row["reason"]) == (
        0,
        "unknown",
        "rejected",
        "a PNG, not FITS",
    )
    assert (row["detector"], row["mjd_mid"], row["zp"], row["version"]) == (None, None, None, None)
    assert row["received_at"] == "2026-03-01T20:00:00.000+00:00"


def test_a_reduced_frame_has_everything(database: Database) -> None:
    frame_id = add_frame(database)
    ra, dec = stars(4)
    chain = record(
        masters={"flat": "f" * 64, "bias": "b" * 64}, fwhm_px=2.5, wcs_backend="hint", wcs_quality="verified"
    )
    append(database, frame_id, chain, columns(ra, dec), now=later(2))
    settle_frame(database, frame_id, State.DONE, "")
    (row,) = frame_rows(database)
    assert (row["state"], row["object"], row["airmass"]) == ("done", "M 67", 1.25)
    assert (row["zp"], row["fwhm_px"], row["wcs_quality"]) == (25.0, 2.5, "verified")
    assert row["masters"] == "bias:bbbbbbbb flat:ffffffff"
    assert (row["seconds"], row["seconds_wcs"], row["version"]) == (0.75, 0.5, 1)


def test_only_the_current_reduction_is_shown(database: Database) -> None:
    frame_id = add_frame(database)
    ra, dec = stars(2)
    append(database, frame_id, record("one", zp=24.0), columns(ra, dec), now=later(2))
    append(database, frame_id, record("two", zp=25.0), columns(ra, dec), now=later(3))
    rows = frame_rows(database)
    assert [(row["zp"], row["version"]) for row in rows] == [(25.0, 2)]
    current = current_reduction(database, frame_id)
    assert current is not None
    assert current.plan_fingerprint == "two"


def test_order_is_time_then_path_then_hdu(database: Database) -> None:
    _receive(database, "/data/z-garbage")
    for path, mjd in (("/data/c", MJD + 1), ("/data/b", MJD), ("/data/a", MJD)):
        exposure_id = _receive(database, path)
        chips = [header(detector="2", hdu=2, mjd_mid=mjd), header(detector="1", hdu=1, mjd_mid=mjd)]
        record_frames(database, exposure_id, chips)
    order = [(row["path"], row["hdu"]) for row in frame_rows(database)]
    assert order == [
        *[(path, hdu) for path in ("/data/a", "/data/b", "/data/c") for hdu in (1, 2)],
        ("/data/z-garbage", 0),
    ]


def test_rows_of_one_state(database: Database) -> None:
    for name, state in (("a", State.DONE), ("b", State.HELD)):
        settle_frame(database, add_frame(database, name), state, f"it is {state}")
    assert [row["reason"] for row in frame_rows(database, State.HELD)] == ["it is held"]


def test_a_frame_that_was_not_settled_shares_the_fate_of_its_file(database: Database) -> None:
    frame_id = add_frame(database, "a")
    assert frame_id
    (exposure,) = find_exposures(database, "a")
    assert exposure.id is not None
    settle_exposure(database, exposure.id, State.FAILED, "the worker died", now=later(1))
    (row,) = frame_rows(database)
    assert (row["state"], row["reason"]) == ("failed", "the worker died")


def test_finding_by_path_by_name_and_by_fragment(database: Database) -> None:
    night_1 = _receive(database, "/n1/a_1.fits")
    night_2 = _receive(database, "/n2/a_1.fits")
    other = _receive(database, "/n2/ba_1.fits")
    found = {
        name: [one.id for one in find_exposures(database, name)]
        for name in ("/n2/a_1.fits", "a_1.fits", "ba")
    }
    assert found == {"/n2/a_1.fits": [night_2], "a_1.fits": [night_1, night_2], "ba": [other]}


def test_a_number_is_an_exposure_unless_a_file_has_that_name(database: Database) -> None:
    first = _receive(database, "/data/0002.fits")
    second = _receive(database, "/data/other.fits")
    assert (first, second) == (1, 2)

    def ids(name: str) -> list[int | None]:
        return [one.id for one in find_exposures(database, name)]

    assert ids("2") == [second]
    assert ids("0002") == [first]
    assert ids("02") == [first]
    assert ids("9" * 30) == []
    named = _receive(database, "/data/2")
    assert ids("2") == [named]


def test_flags_are_counted_by_word_and_versions_are_in_order(database: Database) -> None:
    frame_id = add_frame(database, "a")
    flags = np.array([0, 0, 128, 136, 0, 128])
    append(database, frame_id, record("p1"), columns(*stars(6), flags=flags), now=later(1))
    append(database, frame_id, record("p2"), columns(*stars(2)), now=later(2))
    versions = reductions_of(database, frame_id)
    assert [(one.version, one.current) for one in versions] == [(1, False), (2, True)]
    assert flag_counts(database, versions[0].id or 0) == {0: 3, 128: 2, 136: 1}
    assert flag_counts(database, versions[1].id or 0) == {0: 2}
    assert reductions_of(database, 99) == []


def test_signs_of_a_name_mean_nothing(database: Database) -> None:
    _receive(database, "/data/abc.fits")
    percent = _receive(database, "/data/100%.fits")
    assert find_exposures(database, "a_c") == []
    assert [one.id for one in find_exposures(database, "%")] == [percent]
    assert find_exposures(database, "'; DROP TABLE exposure; --") == []


def test_empty_store(database: Database) -> None:
    assert frame_rows(database) == []
    assert queue_length(database) == 0
    assert np.sum(list(counts(database).values())) == 0
