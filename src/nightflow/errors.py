"""Errors, sorted by what follows from them.

Whoever raises knows what happened; whoever runs a step knows what to do about it.
The class says which of four things follows, and nothing else::

    Exception
    └── NightflowError
        ├── ConfigurationError    the settings are wrong: stop and say which key
        │   └── StoreDamaged          part of the store cannot be read: a person mends it, frames are `held`
        ├── RetryLater            something outside is away: try again, later `held`
        ├── FrameRejected         this frame is unusable: `rejected`, never retried
        │   └── ContentGone           its file holds another content: `rejected` until its own is seen again
        └── FrameHeld             waits for something nameable: `held`
            ├── MissingCalibration    no valid master; lists the nearest candidates
            │   └── CalibrationAway   their files cannot be reached now: tried again, as with `RetryLater`
            └── NoSolution            no verifiable WCS; lists what each rung said

Any other exception is a bug: the frame becomes `failed`, the traceback stays on the
ledger row and the next frame goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CalibrationAway",
    "ConfigurationError",
    "ContentGone",
    "FrameHeld",
    "FrameRejected",
    "MissingCalibration",
    "NightflowError",
    "NoSolution",
    "RetryLater",
    "StoreDamaged",
]


class NightflowError(Exception):
    """Base of every error that nightflow raises on purpose."""


class ConfigurationError(NightflowError):
    """A setting or a camera profile is wrong; the message names the key, the value and the mend."""


class StoreDamaged(ConfigurationError):
    """Part of the store is damaged; it does not pass within seconds, and is no fault of the frame's."""


class RetryLater(NightflowError):
    """Something outside is away (catalogue service, locked database, network disk)."""


class FrameRejected(NightflowError):
    """The frame is unusable and retrying cannot help; the file is kept."""


class ContentGone(FrameRejected):
    """The file holds another content now, and no copy of the one that was received is known."""


class FrameHeld(NightflowError):
    """The frame waits for something that the message names."""


class MissingCalibration(FrameHeld):
    """Nothing valid to calibrate with.

    Parameters
    ----------
    message : str
        What is missing, for which frame.
    candidates : sequence of str
        The nearest candidates, each with the key that ruled it out.
    """

    def __init__(self, message: str, candidates: Sequence[str] = ()) -> None:
        self.candidates = tuple(candidates)
        super().__init__("; ".join([message, *self.candidates]))


class CalibrationAway(MissingCalibration):
    """What would calibrate the frame is known, and its files cannot be reached now."""


class NoSolution(FrameHeld):
    """No verifiable WCS was found.

    Parameters
    ----------
    message : str
        What was tried, on how many stars.
    rungs : sequence of str
        What each rung of the solver ladder answered.
    """

    def __init__(self, message: str, rungs: Sequence[str] = ()) -> None:
        self.rungs = tuple(rungs)
        super().__init__("; ".join([message, *self.rungs]))
