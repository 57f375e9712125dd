"""Raw file to electrons on the ledger: what one frame leaves for the next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sqlmodel import select

from nightflow.detector.persistence import SaturationMemory
from nightflow.flags import Flag
from nightflow.pipeline import reducer as reducer_module
from nightflow.pipeline import saturated_before
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.run import reduce_all
from nightflow.store.models import Reduction
from tests.unit.pipeline.station import PROFILE, START, Station, only_frame, reduced

MINUTE = 1 / 60


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Flags of the frames that come out of `calibrate`, in order; the steps after it are left out."""
    flags: list[np.ndarray] = []

    def note(work, context):
        flags.append(work.frame.flags)
        return {}

    for step, worker in (("measure", note), ("solve", lambda *_: {}), ("flux", lambda *_: {})):
        monkeypatch.setitem(reducer_module._WORKERS, step, worker)
    return flags


def with_saturated(path: Path, row: int, column: int) -> Path:
    with fits.open(path, mode="update") as hdus:
        hdus[1].data[row, column] = 65535
    return path


def station_reducer(station: Station, seconds: float) -> Reducer:
    settings = f'[bad_pixels]\npersistence_seconds = {seconds}\n[calibration]\nbias = "off"\nflat = "off"\n'
    profile = PROFILE.replace('calibration = { bias = "required", dark = "off", flat = "required" }\n', "")
    station.set_profile(profile + settings)
    return station.reducer(clock=lambda: START)


def ghosts(flags: np.ndarray) -> list[list[int]]:
    return np.argwhere(flags & int(Flag.PERSISTENCE)).tolist()


def test_all_that_is_missing_stands_in_one_reason(station: Station) -> None:
    outcome = reduced(station.reducer(missing_calibration="hold"), station.frame("light.fits"))
    assert outcome.state == "held"
    assert "no bias for tinycam" in outcome.reason
    assert "no flat in V for tinycam" in outcome.reason


def test_calibrations_of_a_profile_of_another_name_are_named_with_the_mend(station: Station) -> None:
    """Somebody wrote a profile of his own for a camera that the ledger knows under another name."""
    for path in station.calibrations("bias"):
        reduced(station.reducer(), path)
    station.set_profile(PROFILE.replace('name = "tinycam"', 'name = "mycam"'))
    outcome = reduced(station.reducer(missing_calibration="hold"), station.frame("light.fits"))
    assert (
        "no bias for mycam 1x1: no candidate at all; 3 raw bias frames of that shape are known as tinycam's"
        in (outcome.reason)
    )
    assert "`nightflow run --force` on their folder makes them so" in outcome.reason


def test_what_one_exposure_saturated_is_flagged_in_the_next_whatever_is_reduced_first(
    station: Station, seen: list[np.ndarray]
) -> None:
    reducer = station_reducer(station, 300.0)
    late = with_saturated(station.frame("late.fits", hours=4 * MINUTE), 20, 30)
    early = with_saturated(station.frame("early.fits"), 5, 6)
    for path in (late, early, station.frame("between.fits", hours=2 * MINUTE)):
        reduced(reducer, path)
    assert [ghosts(flags) for flags in seen] == [[], [], [[5, 6]]]
    reduced(reducer, station.frame("after.fits", hours=5 * MINUTE))
    assert ghosts(seen[-1]) == [[5, 6], [20, 30]]
    reduced(reducer, station.frame("hour.fits", hours=1.0))
    assert ghosts(seen[-1]) == []


def test_what_was_saturated_before_a_restart_is_read_again(station: Station, seen: list[np.ndarray]) -> None:
    """One exposure reduced again by itself has the mask that it has in its night."""
    first = with_saturated(station.frame("first.fits", chips=2), 5, 6)
    light = station.frame("light.fits", chips=2, hours=2 * MINUTE)
    for path in (first, light):
        reduced(station_reducer(station, 300.0), path)
    assert [ghosts(flags) for flags in seen] == [[], [], [[5, 6]], []]
    reducer = station_reducer(station, 300.0)
    reduced(reducer, station.frame("next.fits", chips=2, hours=3 * MINUTE))
    first.unlink()
    reduced(reducer, station.frame("known.fits", chips=2, hours=4 * MINUTE))
    assert [ghosts(flags) for flags in seen[4:]] == [[[5, 6]], []] * 2


@pytest.mark.parametrize("what", ["gone", "of no camera", "another exposure"])
def test_an_earlier_file_that_cannot_be_read_again_is_a_warning_and_no_more(
    station: Station, seen: list[np.ndarray], what: str
) -> None:
    early = with_saturated(station.frame("early.fits"), 5, 6)
    kept = with_saturated(station.frame("kept.fits", hours=MINUTE), 8, 9)
    for path in (early, kept):
        reduced(station_reducer(station, 300.0), path)
    early.unlink()
    if what == "of no camera":
        station.frame("early.fits", INSTRUME="somebody else")
    elif what == "another exposure":
        station.frame("early.fits", hours=-1.0)
    outcome = reduced(station_reducer(station, 300.0), station.frame("last.fits", hours=2 * MINUTE))
    assert outcome.state == "done", outcome.reason
    assert "persistence: what early.fits saturated is not flagged" in outcome.reason
    assert ghosts(seen[-1]) == [[8, 9]]


def test_what_is_read_again_does_not_drive_out_what_is_remembered(
    station: Station, seen: list[np.ndarray]
) -> None:
    first = with_saturated(station.frame("first.fits"), 5, 6)
    second = with_saturated(station.frame("second.fits", hours=MINUTE), 8, 9)
    reduced(station_reducer(station, 300.0), second)
    reducer = station_reducer(station, 300.0)
    reducer.context = replace(reducer.context, saturation=SaturationMemory(exposures=2))
    for path in (first, station.frame("fourth.fits", hours=3 * MINUTE)):
        reduced(reducer, path)
    reduced(reducer, station.frame("third.fits", hours=2 * MINUTE))
    assert ghosts(seen[-1]) == [[5, 6], [8, 9]]


def test_more_earlier_files_than_a_frame_can_wait_for_are_said(
    station: Station, seen: list[np.ndarray]
) -> None:
    earlier = [with_saturated(station.frame(f"n{n}.fits", hours=n * MINUTE), n, n) for n in range(10)]
    reducer = station_reducer(station, 0.0)
    for path in earlier:
        reduced(reducer, path)
    outcome = reduced(station_reducer(station, 900.0), station.frame("last.fits", hours=10 * MINUTE))
    assert ghosts(seen[-1]) == [[n, n] for n in range(2, 10)]
    assert "persistence: 2 of 10 exposures before this one are not known any more" in outcome.reason


def test_at_a_fast_cadence_all_of_the_window_counts(station: Station, seen: list[np.ndarray]) -> None:
    """Forty exposures, more than a memory keeps that nobody has asked for more."""
    reducer = station_reducer(station, 300.0)
    for n in range(40):
        light = station.frame(f"n{n}.fits", hours=n * 5 / 3600, EXPTIME=1.0)
        outcome = reduced(reducer, with_saturated(light, n // 8, n % 8))
        assert "not known any more" not in outcome.reason
    assert len(ghosts(seen[-1])) == 39


def test_more_exposures_than_are_looked_at_are_said(
    station: Station, seen: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saturated_before, "_MOST", 3)
    reducer = station_reducer(station, 300.0)
    reasons = [
        reduced(reducer, station.frame(f"n{n}.fits", hours=n * 5 / 3600, EXPTIME=1.0)).reason
        for n in range(5)
    ]
    assert ["more than 3 exposures ended in the 300 s" in reason for reason in reasons] == [False] * 4 + [
        True
    ]


def test_a_fuller_mask_makes_another_version(station: Station, seen: list[np.ndarray]) -> None:
    light = station.frame("light.fits", hours=2 * MINUTE)
    exposure_id = reduced(station_reducer(station, 300.0), light).exposure_id
    reduced(station_reducer(station, 300.0), with_saturated(station.frame("early.fits"), 5, 6))
    for _ in range(2):
        reduce_all(station_reducer(station, 300.0), [exposure_id], force=True)
    reducer = station_reducer(station, 300.0)
    frame = only_frame(reducer, exposure_id)
    with reducer.database.session() as session:
        versions = session.exec(select(Reduction.version).where(Reduction.frame_id == frame.id)).all()
    assert [ghosts(flags) for flags in seen] == [[], [], [[5, 6]], [[5, 6]]]
    assert sorted(versions) == [1, 2]


def test_nothing_is_kept_where_it_is_off(station: Station, seen: list[np.ndarray]) -> None:
    reducer = station_reducer(station, 0.0)
    reduced(reducer, with_saturated(station.frame("early.fits"), 5, 6))
    reduced(reducer, station.frame("next.fits", hours=MINUTE))
    assert ghosts(seen[-1]) == []
