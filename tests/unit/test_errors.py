"""The class of an error says what follows from it; its message says the mend."""

from __future__ import annotations

import inspect

import pytest

from nightflow import errors
from nightflow.errors import (
    ConfigurationError,
    FrameHeld,
    FrameRejected,
    MissingCalibration,
    NightflowError,
    NoSolution,
    RetryLater,
)

CONSEQUENCES = (ConfigurationError, RetryLater, FrameRejected, FrameHeld)


def test_all_public_errors_have_one_consequence() -> None:
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, NightflowError)
        assert sum(issubclass(error, one) for one in CONSEQUENCES) == (error is not NightflowError)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = [line.split("── ")[1].split()[0] for line in errors.__doc__.splitlines() if "── " in line]
    classes = inspect.getmembers(errors, inspect.isclass)
    assert sorted(drawn) == sorted(name for name, _ in classes if name in errors.__all__)


@pytest.mark.parametrize("error", [MissingCalibration, NoSolution])
def test_what_is_held_lists_what_was_looked_at(error: type[FrameHeld]) -> None:
    assert str(error("no flat in V")) == "no flat in V"
    assert str(error("no flat in V", ["flat R 0.1 d away", "flat V 40 d away"])) == (
        "no flat in V; flat R 0.1 d away; flat V 40 d away"
    )


def test_the_lists_can_be_read_back() -> None:
    assert MissingCalibration("no flat", ["a", "b"]).candidates == ("a", "b")
    assert NoSolution("no WCS", ["hint: 3 stars"]).rungs == ("hint: 3 stars",)
