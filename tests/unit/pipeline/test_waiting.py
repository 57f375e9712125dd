"""Held lights wake when the last calibration that they need arrives, and not before."""

from __future__ import annotations

import pytest

from nightflow.errors import NoSolution
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.register import register
from nightflow.pipeline.run_lease import take_queued
from nightflow.pipeline.waiting import wake_for_calibration
from nightflow.store.frames import frames_of
from nightflow.store.models import Priority, State
from tests.unit.pipeline.station import (
    PROFILE,
    START,
    Station,
    exposure,
    only_frame,
    reduced,
    steps_of_straw,
)


@pytest.fixture
def reducer(station: Station) -> Reducer:
    return station.reducer(missing_calibration="hold", definitive_masters=False, until="calibrate")


def test_it_wakes_with_the_last_flat(station: Station, reducer: Reducer) -> None:
    light = reduced(reducer, station.frame("light.fits"))
    assert light.state == "held"
    assert "no bias" in light.reason
    frames = [*station.calibrations("bias"), *station.calibrations("flat", hours=5)]
    states = []
    for path in frames:
        reduced(reducer, path)
        states.append(exposure(reducer, light.exposure_id).state)
    assert states == [State.HELD] * 5 + [State.RECEIVED]
    woken = exposure(reducer, light.exposure_id)
    assert (woken.priority, woken.waits_for, woken.reason) == (Priority.REDO, "", "")
    assert only_frame(reducer, light.exposure_id).state == State.RECEIVED


def test_what_waits_of_a_backfill_stays_one_of_it(station: Station, reducer: Reducer) -> None:
    """Its shares take nothing more urgent: without a watcher it would be taken by nobody."""
    path = station.frame("light.fits")
    register(reducer.database, path, priority=Priority.BACKFILL, now=START)
    light = reduced(reducer, path)
    for calibration in [*station.calibrations("bias"), *station.calibrations("flat")]:
        reduced(reducer, calibration)
    assert exposure(reducer, light.exposure_id).state == State.RECEIVED
    assert take_queued(reducer.database) == light.exposure_id


def test_after_waking_it_is_done_with_those_masters(station: Station, reducer: Reducer) -> None:
    path = station.frame("light.fits")
    reduced(reducer, path)
    for calibration in [*station.calibrations("bias"), *station.calibrations("flat")]:
        reduced(reducer, calibration)
    assert reduced(reducer, path).state == "done"


def test_flats_of_another_filter_wake_nobody(station: Station, reducer: Reducer) -> None:
    light = reduced(reducer, station.frame("light.fits"))
    for path in [*station.calibrations("bias"), *station.calibrations("flat", FILTER="R")]:
        reduced(reducer, path)
    assert exposure(reducer, light.exposure_id).state == State.HELD


def test_of_several_only_the_complete_ones_wake(station: Station, reducer: Reducer) -> None:
    lights = {
        name: reduced(reducer, station.frame(f"light-{name}.fits", FILTER=name)).exposure_id for name in "VR"
    }
    for path in [*station.calibrations("bias"), *station.calibrations("flat", FILTER="R")]:
        reduced(reducer, path)
    assert {name: exposure(reducer, one).state for name, one in lights.items()} == {
        "V": State.HELD,
        "R": State.RECEIVED,
    }


def test_a_light_wakes_nobody(station: Station, reducer: Reducer) -> None:
    held = reduced(reducer, station.frame("light.fits")).exposure_id
    frames = frames_of(reducer.database, held)
    assert wake_for_calibration(reducer.context, frames, START) == 0


def test_what_waits_for_something_else_sleeps_on(
    station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        steps_of_straw(patch, calibrate=NoSolution("no WCS"))
        held = reduced(reducer, station.frame("light.fits")).exposure_id
    for path in [*station.calibrations("bias"), *station.calibrations("flat")]:
        reduced(reducer, path)
    assert exposure(reducer, held).waits_for == "wcs"


def test_an_optional_master_is_not_waited_for(station: Station) -> None:
    station.set_profile(PROFILE.replace('flat = "required"', 'flat = "optional"'))
    reducer = station.reducer(missing_calibration="hold", definitive_masters=False, until="calibrate")
    light = reduced(reducer, station.frame("light.fits"))
    for path in station.calibrations("bias"):
        reduced(reducer, path)
    assert exposure(reducer, light.exposure_id).state == State.RECEIVED
