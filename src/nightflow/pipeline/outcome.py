"""What a reducer tells of an exposure: what it is, how it ended, and whom it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["LOST", "IdentifiedExposure", "Observer", "Outcome"]

LOST = "lost"
"""State of an outcome: another process has the exposure now, and nothing was written."""


@dataclass(frozen=True, kw_only=True)
class IdentifiedExposure:
    """What a file turned out to be.

    Attributes
    ----------
    exposure_id : int
    path, kind, title : str
        ``title`` is for people: file, object and filter.
    frame_ids : tuple of int
        Rows of the ledger, one a detector.
    tags : tuple of str
        Camera, kind, filter and night, each with its name before it.
    """

    exposure_id: int
    path: str
    kind: str
    frame_ids: tuple[int, ...]
    title: str
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an exposure ended.

    Attributes
    ----------
    exposure_id : int
    path, state, reason : str
    seconds : float
        Wall time since it was identified.
    """

    exposure_id: int
    path: str
    state: str
    reason: str
    seconds: float


class Observer(Protocol):
    """Is told what a reducer does; called from whichever thread does it."""

    def began(self, step: str, exposure_id: int, row: int) -> None:
        """Take note that a step begins on a row of the ledger: a frame, or the exposure itself."""

    def ended(self, step: str, exposure_id: int, row: int) -> None:
        """Take note that it has ended, well or not."""

    def settled(self, outcome: Outcome) -> None:
        """Take note of how an exposure ended; the ledger says it by now."""

    def exhausted(self, step: str, error: MemoryError) -> None:
        """Take note that there was not enough memory for a step; where this returns, the frame has failed."""
