"""Why a frame has no zero point."""

from __future__ import annotations

from nightflow.photcal.bands import BandChoice

__all__ = ["NoZeroPoint", "TooFewStars"]


class NoZeroPoint(Exception):  # noqa: N818 - an answer, not a failure: the frame goes on without magnitudes
    """The frame cannot be calibrated; the message says why.

    Fluxes and differential magnitudes still stand.
    """


class TooFewStars(NoZeroPoint):
    """The catalogue has a band for the filter, but too few of its stars are usable on this frame.

    Attributes
    ----------
    choice : BandChoice
        What it would have been calibrated to.
    """

    def __init__(self, message: str, choice: BandChoice) -> None:
        super().__init__(message)
        self.choice = choice
