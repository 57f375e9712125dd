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


def see(tracker: StabilityTracker, size: int, *, closed: bool = False) -> None:
    tracker.observe(FRAME, size=size, mtime_ns=size, closed=closed)


def is_ready(tracker: StabilityTracker, completeness: Completeness) -> bool:
    """Return whether a file of such a content is handed over now; it is looked into when it is time."""
    for path in tracker.unjudged():
        tracker.judge(path, completeness)
    return tracker.ready() == [FRAME]


def test_a_whole_file_that_was_closed_is_ready_at_once(tracker: StabilityTracker) -> None:
    see(tracker, 2880, closed=True)
    assert is_ready(tracker, Completeness.COMPLETE)


def test_a_whole_file_that_nobody_closed_rests_a_moment(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 2880)
    assert not is_ready(tracker, Completeness.COMPLETE)
    clock.now += MOMENT_SECONDS
    assert is_ready(tracker, Completeness.COMPLETE)


def test_where_that_is_told_the_moment_is_longer(tracker: StabilityTracker, clock: Clock) -> None:
    tracker.retune(settle_seconds=SETTLE, patience_seconds=PATIENCE, moment_seconds=3.0)
    for completeness in (Completeness.COMPLETE, Completeness.UNKNOWN):
        see(tracker, 2880)
        clock.now += 2.9
        assert not is_ready(tracker, completeness)
        clock.now += 0.2
        assert is_ready(tracker, completeness)
        tracker.forget(FRAME)


def test_a_file_that_is_being_written_is_not_looked_into(tracker: StabilityTracker, clock: Clock) -> None:
    for size in range(10):
        see(tracker, size)
        clock.now += MOMENT_SECONDS / 2
        assert tracker.unjudged() == []
    clock.now += MOMENT_SECONDS / 2
    assert tracker.unjudged() == [FRAME]


def test_a_file_that_has_not_changed_is_looked_into_once(tracker: StabilityTracker, clock: Clock) -> None:
    for completeness in Completeness:
        see(tracker, 2880)
        clock.now += MOMENT_SECONDS
        is_ready(tracker, completeness)
        see(tracker, 2880)
        clock.now += MOMENT_SECONDS
        assert tracker.unjudged() == []
        tracker.forget(FRAME)


def test_a_short_file_that_is_closed_is_looked_into_again(tracker: StabilityTracker, clock: Clock) -> None:
    """Its last bytes may have come within the same tick of the file system's clock."""
    see(tracker, 2880)
    clock.now += MOMENT_SECONDS
    assert not is_ready(tracker, Completeness.INCOMPLETE)
    see(tracker, 2880, closed=True)
    assert is_ready(tracker, Completeness.COMPLETE)


def test_closing_a_known_whole_file_makes_it_ready(tracker: StabilityTracker) -> None:
    see(tracker, 2880)
    tracker.judge(FRAME, Completeness.COMPLETE)
    see(tracker, 2880, closed=True)
    assert tracker.unjudged() == []
    assert tracker.ready() == [FRAME]


def test_a_file_of_unknown_length_settles(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 2880, closed=True)
    clock.now += SETTLE - 0.01
    assert not is_ready(tracker, Completeness.UNKNOWN)
    clock.now += 0.01
    assert is_ready(tracker, Completeness.UNKNOWN)


def test_a_change_begins_the_rest_anew(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 2880)
    clock.now += SETTLE - 0.1
    see(tracker, 5760)
    clock.now += SETTLE - 0.1
    assert not is_ready(tracker, Completeness.UNKNOWN)
    clock.now += 0.1
    assert is_ready(tracker, Completeness.UNKNOWN)


def test_an_unchanged_file_keeps_its_rest(tracker: StabilityTracker, clock: Clock) -> None:
    for _ in range(4):
        see(tracker, 2880)
        clock.now += SETTLE / 4
    assert is_ready(tracker, Completeness.UNKNOWN)


def test_a_short_file_waits_for_the_rest_of_it(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 1000, closed=True)
    clock.now += PATIENCE - 0.01
    assert not is_ready(tracker, Completeness.INCOMPLETE)
    see(tracker, 2880, closed=True)
    assert is_ready(tracker, Completeness.COMPLETE)


def test_a_file_that_stays_short_is_handed_over_in_the_end(tracker: StabilityTracker, clock: Clock) -> None:
    see(tracker, 1000)
    clock.now += PATIENCE
    assert is_ready(tracker, Completeness.INCOMPLETE)


def test_an_overwritten_file_loses_the_closing_of_the_old_one(tracker: StabilityTracker) -> None:
    see(tracker, 2880, closed=True)
    tracker.observe(FRAME, size=2880, mtime_ns=999)
    assert not is_ready(tracker, Completeness.COMPLETE)


def test_a_file_stays_ready_until_it_is_forgotten(tracker: StabilityTracker) -> None:
    see(tracker, 2880, closed=True)
    assert is_ready(tracker, Completeness.COMPLETE)
    assert tracker.ready() == [FRAME]
    tracker.forget(FRAME)
    assert tracker.ready() == []
    assert FRAME not in tracker
    tracker.forget(FRAME)


def test_the_longest_at_rest_comes_first(tracker: StabilityTracker, clock: Clock) -> None:
    for name in ("b", "a", "c"):
        tracker.observe(Path(name), size=1, mtime_ns=1, closed=True)
        tracker.judge(Path(name), Completeness.COMPLETE)
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
        see(tracker, size)
        if size != last_size:
            last_change, last_size = clock.now, size
        clock.now += pause
        if is_ready(tracker, completeness):
            assert clock.now - last_change >= MOMENT_SECONDS
