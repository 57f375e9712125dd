"""What speaks for and against a candidate solution, as numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = ["Evidence"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What speaks for and against a candidate.

    Attributes
    ----------
    n_matched : int
        Stars in the fit.
    n_expected : int
        Catalogue stars on the frame that could have been matched: as many as there are detections at most.
        Both are those that `nightflow.astrometry.refine.contenders` lets be matched.
    rms_arcsec, heldout_rms_arcsec : float
        Radial, of the stars in the fit and of stars left out of it in turn.
    chance_matches : float
        Mean number of matches with the catalogue displaced.
    log_false_alarm : float
        log10 of the probability of this many matches by chance, times the hypotheses tried.
    scale : float
        Arcsec per pixel.
    shear : float
        Relative difference between the largest and the smallest scale of any direction.
    corner_rms_arcsec : float
        Radial rms of the stars in the fit in the outer parts of the frame; NaN where there are none.
    n_corner : int
        How many those are.
    corner_errors_arcsec : tuple of float
        1-sigma radial error of the model in the corners: lower left, lower right, upper left, upper right.
    """

    n_matched: int
    n_expected: int
    rms_arcsec: float
    heldout_rms_arcsec: float
    chance_matches: float
    log_false_alarm: float
    scale: float
    shear: float
    corner_rms_arcsec: float = float("nan")
    n_corner: int = 0
    corner_errors_arcsec: tuple[float, float, float, float] = (float("nan"),) * 4

    @property
    def corner_error_arcsec(self) -> float:
        """The largest of ``corner_errors_arcsec``."""
        return max(self.corner_errors_arcsec)

    def with_lent(self, scatter_arcsec: float) -> Evidence:
        """Return the evidence with what a lent distortion scatters by added to the corners' errors."""
        first, second, third, fourth = (math.hypot(one, scatter_arcsec) for one in self.corner_errors_arcsec)
        return replace(self, corner_errors_arcsec=(first, second, third, fourth))
