"""When a file that lands is finished, by a clock that the test moves."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.instruments.completeness import Completeness
from nightflow.sensor.stability import MOMENT_SECONDS, StabilityTracker

FRAME = Path("/incoming/d1047.fits")
SETTLE, PATIENCE = 2.0, 20.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker(clock: Clock) -> StabilityTracker:
    return StabilityTracker(settle_seconds=SETTLE, patience_seconds=PATIENCE, clock=clock)


def see(tracker: StabilityTracker, size: int, completeness: Completeness, *, closed: bool = False) -> None:
    tracker.observe(FRAME, size=size, mtime_ns=size, completeness=completeness, closed=closed)


def test_a_whole_file_that_was_closed_is_ready_at_once(tracker: StabilityTracker) -> None:
    see(tracker, 2880, Completeness.COMPLETE, closed=True)
    assert tracker.ready() == [FRAME]


def test_a_whole_file_that_nobody_closed_rests_a_moment(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 2880, Completeness.COMPLETE)
    assert tracker.ready() == []
    clock.now += MOMENT_SECONDS
    assert tracker.ready() == [FRAME]


def test_closing_a_known_whole_file_makes_it_ready(tracker: StabilityTracker) -> None:
    see(tracker, 2880, Completeness.COMPLETE)
    see(tracker, 2880, Completeness.COMPLETE, closed=True)
    assert tracker.ready() == [FRAME]


def test_a_file_of_unknown_length_settles(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 2880, Completeness.UNKNOWN, closed=True)
    clock.now += SETTLE - 0.01
    assert tracker.ready() == []
    clock.now += 0.01
    assert tracker.ready() == [FRAME]


def test_a_change_begins_the_rest_anew(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 2880, Completeness.UNKNOWN)
    clock.now += SETTLE - 0.1
    see(tracker, 5760, Completeness.UNKNOWN)
    clock.now += SETTLE - 0.1
    assert tracker.ready() == []
    clock.now += 0.1
    assert tracker.ready() == [FRAME]


def test_an_unchanged_file_keeps_its_rest(tracker: StabilityTracker, clock: Clock) -> None:
    for _ in range(4):
        see(tracker, 2880, Completeness.UNKNOWN)
        clock.now += SETTLE / 4
    assert tracker.ready() == [FRAME]


def test_a_short_file_waits_for_the_rest_of_it(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 1000, Completeness.INCOMPLETE, closed=True)
    clock.now += PATIENCE - 0.01
    assert tracker.ready() == []
    see(tracker, 2880, Completeness.COMPLETE, closed=True)
    assert tracker.ready() == [FRAME]


def test_a_file_that_stays_short_is_handed_over_in_the_end(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 1000, Completeness.INCOMPLETE)
    clock.now += PATIENCE
    assert tracker.ready() == [FRAME]


def test_an_overwritten_file_loses_the_closing_of_the_old_one(tracker: StabilityTracker) -> None:
    see(tracker, 2880, Completeness.COMPLETE, closed=True)
    tracker.observe(FRAME, size=2880, mtime_ns=999, completeness=Completeness.COMPLETE)
    assert tracker.ready() == []


def test_a_file_stays_ready_until_it_is_forgotten(tracker: StabilityTracker) -> None:
    see(tracker, 2880, Completeness.COMPLETE, closed=True)
    assert tracker.ready() == tracker.ready() == [FRAME]
    tracker.forget(FRAME)
    assert tracker.ready() == []
    assert FRAME not in tracker
    tracker.forget(FRAME)


def test_the_longest_at_rest_comes_first(tracker: StabilityTracker, clock: Clock) -> None:
    for name in ("b", "a", "c"):
        tracker.observe(Path(name), size=1, mtime_ns=1, completeness=Completeness.COMPLETE, closed=True)
        clock.now += 1
    assert tracker.ready() == [Path("b"), Path("a"), Path("c")]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 3), st.sampled_from(Completeness)), min_size=1))
def test_nothing_is_ready_before_its_rest_whatever_comes(
    steps: list[tuple[int, float, Completeness]],
) -> None:
    """Invariant: a file that nobody closed was at rest for at least the shortest of the pauses."""
    clock = Clock()
    tracker = StabilityTracker(settle_seconds=SETTLE, patience_seconds=PATIENCE, clock=clock)
    last_change, last_size = clock.now, -1
    for size, pause, completeness in steps:
        see(tracker, size, completeness)
        if size != last_size:
            last_change, last_size = clock.now, size
        clock.now += pause
        if tracker.ready():
            assert clock.now - last_change >= MOMENT_SECONDS
