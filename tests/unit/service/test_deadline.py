"""One time by which all has to be over."""

from __future__ import annotations

import math

import pytest

from nightflow.service import deadline as deadline_module
from nightflow.service.deadline import Deadline


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(deadline_module.time, "monotonic", lambda: now[0])
    return now


def test_before_a_stop_there_is_all_the_time(clock: list[float]) -> None:
    assert Deadline().left() == math.inf
    assert Deadline().left(120.0) == 120.0


def test_what_takes_long_leaves_less_to_the_next(clock: list[float]) -> None:
    deadline = Deadline()
    deadline.set(8.0)
    assert deadline.left(5.0) == 5.0
    clock[0] += 6.0
    assert deadline.left(5.0) == 2.0
    clock[0] += 6.0
    assert deadline.left(5.0) == 0.0


def test_it_is_not_put_off(clock: list[float]) -> None:
    deadline = Deadline()
    deadline.set(8.0)
    clock[0] += 6.0
    deadline.set(8.0)
    assert deadline.left() == 2.0
