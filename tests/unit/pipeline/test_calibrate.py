"""Raw file to electrons on the ledger: what one frame leaves for the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from nightflow.flags import Flag
from nightflow.pipeline import reducer as reducer_module
from nightflow.pipeline.reducer import Reducer
from tests.unit.pipeline.station import PROFILE, START, Station, reduced

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
    early = with_saturated(station.frame("early.fits"), 5, 6)
    flat = with_saturated(station.frame("flat.fits", kind="flat", hours=2 * MINUTE), 8, 9)
    again = station.frame("again.fits", hours=4 * MINUTE)
    for path in (flat, early, again):
        reduced(station_reducer(station, 300.0), path)
    assert [ghosts(flags) for flags in seen] == [[], [[5, 6], [8, 9]]]
    reducer = station_reducer(station, 300.0)
    reduced(reducer, station.frame("after.fits", hours=4.5 * MINUTE))
    early.unlink()
    reduced(reducer, station.frame("known.fits", hours=4.7 * MINUTE))
    assert [ghosts(flags) for flags in seen[2:]] == [[[5, 6], [8, 9]]] * 2
    outcome = reduced(station_reducer(station, 300.0), station.frame("last.fits", hours=4.9 * MINUTE))
    assert ghosts(seen[-1]) == [[8, 9]]
    assert "what early.fits saturated is not flagged" in outcome.reason


def test_nothing_is_kept_where_it_is_off(station: Station, seen: list[np.ndarray]) -> None:
    reducer = station_reducer(station, 0.0)
    reduced(reducer, with_saturated(station.frame("early.fits"), 5, 6))
    reduced(reducer, station.frame("next.fits", hours=MINUTE))
    assert ghosts(seen[-1]) == []
