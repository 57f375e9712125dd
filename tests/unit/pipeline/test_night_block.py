"""Within a night's block masters stay; they change when the night is over, or when one is rejected."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nightflow.pipeline.night_block import night_is_over
from nightflow.pipeline.reducer import Reducer
from nightflow.store.ledger import requeue
from nightflow.store.masters import masters, set_master_state
from nightflow.store.overview import current_reduction
from tests.unit.pipeline.station import START, Station, entered, only_frame, reduced


class Clock:
    """A clock that the test sets; files land at `START`."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def after(self, minutes: float) -> datetime:
        self.now = START + timedelta(minutes=minutes)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reducer(station: Station, clock: Clock) -> Reducer:
    return station.reducer(definitive_masters=False, until="calibrate", clock=clock)


def take(station: Station, reducer: Reducer, kind: str, hours: float, count: int = 5, **cards: str) -> None:
    for path in station.calibrations(kind, count, hours=hours, **cards):
        assert reduced(reducer, path).state == "done"


def again(reducer: Reducer, path: Path) -> int:
    """Reduce a file, whatever became of it before; return its exposure."""
    requeue(reducer.database, [entered(reducer, path)], now=START)
    return reduced(reducer, path).exposure_id


def used(station: Station, reducer: Reducer, name: str, *, hours: float = 0.0, **cards: str) -> str:
    """Reduce a light (again); return the fingerprint of the flat that it used."""
    path = station.raw / name
    if not path.exists():
        station.frame(name, hours=hours, **cards)
    frame = only_frame(reducer, again(reducer, path))
    reduction = current_reduction(reducer.database, frame.id or 0)
    assert reduction is not None
    return reduction.masters.get("flat", "")


def test_a_block_keeps_its_master_though_a_nearer_one_comes(
    station: Station, reducer: Reducer, clock: Clock
) -> None:
    take(station, reducer, "bias", -4)
    take(station, reducer, "flat", -50)
    clock.after(20)
    first = used(station, reducer, "early.fits")
    take(station, reducer, "flat", 1)
    clock.after(40)
    assert used(station, reducer, "later.fits", hours=2) == first
    assert used(station, reducer, "early.fits") == first


def test_another_filter_is_another_block(station: Station, reducer: Reducer, clock: Clock) -> None:
    take(station, reducer, "flat", -50)
    clock.after(20)
    first = used(station, reducer, "early.fits")
    take(station, reducer, "flat", -3, FILTER="R")
    clock.after(40)
    other = used(station, reducer, "red.fits", FILTER="R", hours=1)
    assert other not in ("", first)


def test_a_rejected_master_is_not_kept(station: Station, reducer: Reducer, clock: Clock) -> None:
    take(station, reducer, "bias", -51)
    take(station, reducer, "flat", -50)
    take(station, reducer, "flat", -100)
    clock.after(20)
    first = used(station, reducer, "early.fits")
    (row,) = masters(reducer.database, kind="flat")
    set_master_state(reducer.database, row.id or 0, "rejected", "clouds")
    assert used(station, reducer, "later.fits", hours=1) not in ("", first)


def test_the_next_night_is_another_block(station: Station, reducer: Reducer, clock: Clock) -> None:
    take(station, reducer, "flat", -3)
    clock.after(20)
    first = used(station, reducer, "early.fits")
    take(station, reducer, "flat", 21)
    clock.after(40)
    assert used(station, reducer, "tomorrow.fits", hours=24) not in ("", first)


def test_a_growing_set_makes_no_master_that_changes_with_every_frame(
    station: Station, reducer: Reducer, clock: Clock
) -> None:
    take(station, reducer, "flat", -50)
    clock.after(20)
    old = used(station, reducer, "focus.fits", OBJECT="focus", hours=-30)
    for number in range(4):
        path = station.frame(f"dusk{number}.fits", "flat", hours=-1 + number / 60)
        assert reduced(reducer, path).state == "done"
        # Files land at START; the set grows for a quarter of an hour after.
        clock.after(1 + number)
        assert used(station, reducer, f"test{number}.fits", FILTER="V", hours=-0.9 + number / 60) == old
    assert len(masters(reducer.database, kind="flat")) == 1


def test_a_growing_set_is_used_where_nothing_else_fits(
    station: Station, reducer: Reducer, clock: Clock
) -> None:
    take(station, reducer, "flat", -1, count=4)
    clock.after(1)
    assert used(station, reducer, "light.fits")


def test_a_rejected_master_of_a_growing_set_is_not_used(
    station: Station, reducer: Reducer, clock: Clock
) -> None:
    take(station, reducer, "flat", -1, count=4)
    clock.after(1)
    assert used(station, reducer, "light.fits")
    (row,) = masters(reducer.database, kind="flat")
    set_master_state(reducer.database, row.id or 0, "rejected", "dust moved")
    assert used(station, reducer, "light.fits") == ""
    reason = only_frame(reducer, entered(reducer, station.raw / "light.fits")).reason
    assert "4 raw flat frames fit, but the master of them is rejected: dust moved" in reason


def test_a_night_is_over_when_no_light_came_for_an_hour(
    station: Station, reducer: Reducer, clock: Clock
) -> None:
    frame = only_frame(reducer, reduced(reducer, station.frame("light.fits")).exposure_id)
    profile = reducer.context.profiles["tinycam"]

    def over(minutes: float, night: str = frame.night) -> bool:
        return night_is_over(reducer.database, "tinycam", night, profile, clock.after(minutes))

    assert [over(59), over(61)] == [False, True]
    assert not over(61, "")
    assert not over(61, "2020-01-01")


def test_once_the_night_is_over_masters_are_definitive(
    station: Station, reducer: Reducer, clock: Clock
) -> None:
    take(station, reducer, "flat", -50)
    clock.after(20)
    first = used(station, reducer, "early.fits")
    take(station, reducer, "flat", 6)
    clock.after(90)
    assert used(station, reducer, "early.fits") not in ("", first)
