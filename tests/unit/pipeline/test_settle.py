"""Each error has one consequence."""

from __future__ import annotations

import pytest

from nightflow.errors import (
    CalibrationAway,
    ConfigurationError,
    ContentGone,
    FrameHeld,
    FrameRejected,
    MissingCalibration,
    NoSolution,
    RetryLater,
    StoreDamaged,
)
from nightflow.pipeline.settle import verdict, worst_state
from nightflow.store.ledger import TERMINAL
from nightflow.store.models import State


@pytest.mark.parametrize(
    ("error", "state", "waits_for"),
    [
        (None, State.DONE, ""),
        (FrameRejected("x.fits: empty"), State.REJECTED, ""),
        (ContentGone("x.fits: another one now"), State.REJECTED, "content"),
        (MissingCalibration("no flat in V"), State.HELD, "calibration"),
        (CalibrationAway("no flat in V"), State.HELD, "outside"),
        (NoSolution("no WCS from 3 stars"), State.HELD, "wcs"),
        (RetryLater("disk away"), State.HELD, "outside"),
        (StoreDamaged("damaged"), State.HELD, "store"),
        (FrameHeld("no profile fits"), State.HELD, "profile"),
        (ConfigurationError("bad key"), State.FAILED, ""),
        (KeyError("MJD"), State.FAILED, ""),
        (MemoryError(), State.FAILED, ""),
    ],
)
def test_consequence(error: BaseException | None, state: State, waits_for: str) -> None:
    found = verdict(error)
    assert (found.state, found.waits_for) == (state, waits_for)
    assert found.state in TERMINAL


def test_a_reason_is_the_message_and_a_bug_keeps_its_traceback() -> None:
    assert verdict(FrameRejected("x.fits: empty")).reason == "x.fits: empty"
    assert verdict(FrameRejected("x.fits: empty")).traceback == ""
    try:
        {}["MJD"]
    except KeyError as error:
        found = verdict(error)
    assert found.reason == "KeyError: 'MJD'"
    assert '{}["MJD"]' in found.traceback
    assert found.traceback.startswith("Traceback")


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ([], State.DONE),
        ([State.DONE, State.DONE], State.DONE),
        ([State.DONE, State.REJECTED], State.REJECTED),
        ([State.REJECTED, State.HELD], State.HELD),
        ([State.HELD, State.FAILED, State.DONE], State.FAILED),
    ],
)
def test_an_exposure_is_as_bad_as_its_worst_frame(states: list[State], worst: State) -> None:
    assert worst_state(states) == worst
    assert worst_state(states[::-1]) == worst
