from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.harness import (
    FEWEST,
    MOST,
    Agreement,
    Case,
    Side,
    Skipped,
    both,
    close,
    is_another_due,
    run_benchmark,
    time_in_turns,
)


def case(ours: Any = 1, theirs: Any = 1) -> Case:
    return Case(
        ours=Side(run=lambda: ours),
        peer=Side(run=lambda: theirs),
        peer_name="the other",
        agree=lambda one, other: Agreement(one == other, f"{one} and {other}"),
    )


@contextmanager
def built(one: Case) -> Iterator[Case]:
    yield one


def test_sides_that_agree_are_timed() -> None:
    outcome = run_benchmark("same", lambda: built(case()), seconds=0.0)
    assert (outcome.state, outcome.detail, outcome.peer_name) == ("timed", "1 and 1", "the other")
    assert outcome.rounds == FEWEST
    assert outcome.ours is not None
    assert outcome.peer is not None
    assert outcome.ratio == pytest.approx(outcome.peer / outcome.ours)
    assert not outcome.is_bad


def test_sides_that_disagree_are_not_timed() -> None:
    outcome = run_benchmark("other", lambda: built(case(1, 2)), seconds=0.0)
    assert (outcome.state, outcome.detail) == ("disagrees", "1 and 2")
    assert (outcome.ours, outcome.peer, outcome.ratio) == (None, None, None)
    assert outcome.is_bad


@pytest.mark.parametrize("where", ["building", "running"])
def test_a_fault_is_reported_and_not_raised(where: str) -> None:
    def fault() -> None:
        raise RuntimeError("broken on purpose")

    @contextmanager
    def broken() -> Iterator[Case]:
        if where == "building":
            fault()
        yield Case(ours=Side(run=fault), peer=Side(run=fault), peer_name="", agree=both)

    outcome = run_benchmark("broken", broken)
    assert outcome.state == "failed"
    assert outcome.is_bad
    assert "RuntimeError: broken on purpose (fault, line" in outcome.detail


def test_an_absent_peer_is_no_fault() -> None:
    @contextmanager
    def absent() -> Iterator[Case]:
        raise Skipped("astrolabe is not installed")
        yield case()

    outcome = run_benchmark("absent", absent)
    assert (outcome.state, outcome.detail) == ("skipped", "astrolabe is not installed")
    assert not outcome.is_bad


def test_sides_take_turns_and_each_round_gets_something_new() -> None:
    calls: list[str] = []
    numbers = iter(range(1000))

    def side(name: str) -> Side:
        return Side(run=lambda number: calls.append(f"{name}{number}"), fresh=lambda: next(numbers))

    one = Case(ours=side("a"), peer=side("b"), peer_name="", agree=both)
    assert time_in_turns(one, seconds=0.0)[2] == FEWEST
    assert calls == ["a0", "b1", "a2", "b3", "a4", "b5"]


def test_there_is_a_bound_on_the_rounds() -> None:
    assert time_in_turns(case(), seconds=1e9)[2] == MOST


def test_the_case_is_closed_in_the_end() -> None:
    closed = []

    @contextmanager
    def counting() -> Iterator[Case]:
        yield case(1, 2)
        closed.append(True)

    run_benchmark("closing", counting)
    assert closed == [True]


def test_nan_is_never_close() -> None:
    assert close("x", 0.1, 0.1).ok
    assert not close("x", 0.11, 0.1).ok
    assert not close("x", float("nan"), 0.1).ok


def test_all_parts_must_agree() -> None:
    together = both(Agreement(True, "a"), Agreement(False, "b"))
    assert not together.ok
    assert together.detail == "a; b"


@pytest.mark.parametrize(
    ("rounds", "spent", "due"),
    [
        (0, 0.0, True),
        (0, 999.0, True),
        (1, 59.0, True),
        (1, 61.0, False),
        (3, 11.0, True),
        (3, 13.0, False),
        (15, 1.0, False),
    ],
)
def test_slow_peers_get_fewer_rounds(rounds: int, spent: float, due: bool) -> None:
    assert is_another_due(rounds, spent, 12.0) is due
