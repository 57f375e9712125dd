"""Which frames are shown as runs when there are more than can be."""

from __future__ import annotations

import logging

import pytest

from nightflow.service.pace import (
    IN_A_ROW,
    LATE_SECONDS,
    ON_TIME_SECONDS,
    SAMPLE,
    SLOW_SECONDS,
    SOON_SECONDS,
    Pace,
)


class Clock:
    """Stands still until it is set."""

    now = 1e6

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock)


def shown(pace: Pace, waited: float, frames: int = IN_A_ROW) -> list[bool]:
    return [pace.shows(waited) for _ in range(frames)]


def lose(pace: Pace, seconds: float, frames: int = IN_A_ROW) -> None:
    for _ in range(frames):
        pace.lost(seconds)


def test_all_are_shown_though_many_land_at_once(pace: Pace) -> None:
    lose(pace, 0.9 * SLOW_SECONDS)
    assert all(shown(pace, 0.9 * LATE_SECONDS, 50))


def test_late_ones_go_without_until_they_are_on_time_again(
    pace: Pace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lose(pace, 0.2)
    assert shown(pace, 150.0, IN_A_ROW + 2) == [True] * (IN_A_ROW - 1) + [False] * 3
    assert shown(pace, 2 * ON_TIME_SECONDS) == [False] * IN_A_ROW, "less late than too late, but not on time"
    assert shown(pace, 0.9 * ON_TIME_SECONDS, IN_A_ROW + 1) == [False] * (IN_A_ROW - 1) + [True] * 2
    late, on_time = [record.message for record in caplog.records]
    assert "frames wait for 150 s, and lose 0.2 s each" in late
    assert "on time again" in on_time


def test_with_a_slow_server_they_do_not_wait_for_long(pace: Pace) -> None:
    lose(pace, 1.1 * SLOW_SECONDS)
    assert all(shown(pace, 0.9 * SOON_SECONDS, 50)), "nothing waits: they are shown, slowly"
    assert shown(pace, 1.1 * SOON_SECONDS)[-1] is False


def test_with_a_quick_server_pairs_of_frames_are_on_time(pace: Pace) -> None:
    """The second of each waits for the first: no reason to go without runs for the rest of a night."""
    lose(pace, 0.2)
    shown(pace, 150.0)
    assert all([*shown(pace, 0.0), *shown(pace, 4.0), *shown(pace, 0.0)][IN_A_ROW:])


def test_one_that_was_held_or_one_slow_answer_says_nothing(pace: Pace) -> None:
    lose(pace, 2 * SLOW_SECONDS, 1)
    assert all(shown(pace, 2 * SOON_SECONDS, 10)), "one slow answer"
    assert all([*shown(pace, 3600.0, 1), *shown(pace, 0.0, 10)]), "one that was held for an hour"


def test_some_are_shown_nevertheless_and_tell_when_the_server_is_quick(pace: Pace) -> None:
    lose(pace, 5 * SLOW_SECONDS)
    shown(pace, 10.0)
    late = shown(pace, 10.0, 10 * (SAMPLE + 1))
    assert late.count(True) == 10
    lose(pace, 0.2, 1)
    assert all(shown(pace, 10.0, IN_A_ROW)), "it is quick again, and ten seconds are not late then"


def test_after_a_lull_nothing_is_late(pace: Pace, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The last of a heap ended late, and minutes later a single frame lands."""
    caplog.set_level(logging.INFO)
    lose(pace, 0.2)
    assert shown(pace, 150.0)[-1] is False
    clock.now += 0.9 * LATE_SECONDS
    assert shown(pace, 150.0, 1) == [False], "as long as a frame may wait there may be others"
    clock.now += 1.1 * LATE_SECONDS
    assert shown(pace, 0.0, 1) == [True]
    assert "on time again" in caplog.records[-1].message
    assert shown(pace, 150.0) == [True] * (IN_A_ROW - 1) + [False], "late again, as ever"
