"""What follows from an error: the state of the frame, and the reason a person reads."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from nightflow.errors import (
    CalibrationAway,
    ContentGone,
    FrameHeld,
    FrameRejected,
    MissingCalibration,
    NoSolution,
    RetryLater,
    StoreDamaged,
)
from nightflow.store.ledger import CONTENT, STORE
from nightflow.store.models import State

__all__ = ["Verdict", "verdict", "worst_state"]

_SEVERITY = (State.FAILED, State.HELD, State.REJECTED, State.DONE)


@dataclass(frozen=True)
class Verdict:
    """Where a frame ends.

    Attributes
    ----------
    state : State
        Terminal.
    reason : str
    waits_for : str
        What a held frame waits for, or a rejected one whose file was overwritten; "" otherwise.
    traceback : str
        Of a bug; "" otherwise.
    missing : bool
        True where it waits for a file that was not there.
    """

    state: State
    reason: str = ""
    waits_for: str = ""
    traceback: str = ""
    missing: bool = False


def verdict(error: BaseException | None) -> Verdict:
    """Return what follows from how a frame's reduction ended."""
    match error:
        case None:
            return Verdict(State.DONE)
        case ContentGone():
            return Verdict(State.REJECTED, str(error), waits_for=CONTENT)
        case FrameRejected():
            return Verdict(State.REJECTED, str(error))
        case StoreDamaged():
            return Verdict(State.HELD, str(error), waits_for=STORE)
        case CalibrationAway():
            return Verdict(State.HELD, str(error), waits_for="outside")
        case MissingCalibration():
            return Verdict(State.HELD, str(error), waits_for="calibration")
        case NoSolution():
            return Verdict(State.HELD, str(error), waits_for="wcs")
        case RetryLater():
            missing = isinstance(error.__cause__, FileNotFoundError)
            return Verdict(State.HELD, str(error), waits_for="outside", missing=missing)
        case FrameHeld():
            return Verdict(State.HELD, str(error), waits_for="profile")
    trace = "".join(traceback.format_exception(error))
    return Verdict(State.FAILED, f"{type(error).__name__}: {error}", traceback=trace)


def worst_state(states: list[State]) -> State:
    """Return the state of an exposure from those of its frames; an exposure without frames is done."""
    return next((state for state in _SEVERITY if state in states), State.DONE)
