"""The zero point of a frame with too few stars of its own, from what its night has so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.photcal.extinction import Air, expect_zero_point, solve_air

__all__ = ["FEWEST_FRAMES", "KnownZeroPoint", "Lent", "lend_zero_point"]

FEWEST_FRAMES = 3
"""From which the scatter of the transparency can be told."""

_RECENT = 3


@dataclass(frozen=True)
class KnownZeroPoint:
    """The zero point of an earlier frame of the night.

    Attributes
    ----------
    zero_point, error : float
        At colour 0.
    airmass : float
        NaN where unknown.
    hours : float
        Time from any moment.
    color_term, color_term_error : float
        NaN where there is none.
    """

    zero_point: float
    error: float
    airmass: float
    hours: float
    color_term: float
    color_term_error: float


@dataclass(frozen=True)
class Lent:
    """What the night lends.

    Attributes
    ----------
    zero_point, error : float
        At colour 0; the error holds the scatter of the transparency from frame to frame.
    color_term, color_term_error : float or None
    n_frames : int
        It rests on.
    air : Air
        Of those frames.
    """

    zero_point: float
    error: float
    color_term: float | None
    color_term_error: float | None
    n_frames: int
    air: Air


def lend_zero_point(known: Sequence[KnownZeroPoint], airmass: float | None) -> Lent | None:
    """Return the zero point to expect, or None where fewer than 3 frames tell of the night.

    Zero points with a colour term are those of colour 0, those without one of the reference stars' mean
    colour: they do not mix, and the more numerous count.

    Parameters
    ----------
    known : sequence of KnownZeroPoint
        Frames of the same night, chip, filter and reference catalogue, in the order of time.
    airmass : float or None
        Of the frame that needs one.
    """
    known = _of_one_kind(known)
    if len(known) < FEWEST_FRAMES:
        return None
    errors = _column(known, "error")
    # The catalogue's errors are in all of them alike: that part does not fall with their number.
    common = float(np.min(errors)) ** 2
    covariance = common + np.diag(errors**2 - common + 1e-10)
    air = solve_air(
        _column(known, "zero_point"), covariance, _column(known, "airmass"), _column(known, "hours")
    )
    expected = expect_zero_point(air, airmass)
    terms, term_errors = _column(known, "color_term"), _column(known, "color_term_error")
    colored = bool(np.isfinite(terms).all())
    return Lent(
        zero_point=expected.zero_point,
        error=float(np.hypot(expected.error, _change(air.loss))),
        color_term=float(np.median(terms)) if colored else None,
        color_term_error=float(np.nanmedian(term_errors)) if colored else None,
        n_frames=len(known),
        air=air,
    )


def _of_one_kind(known: Sequence[KnownZeroPoint]) -> Sequence[KnownZeroPoint]:
    colored = [one for one in known if np.isfinite(one.color_term)]
    plain = [one for one in known if not np.isfinite(one.color_term)]
    return colored if len(colored) >= len(plain) else plain


def _change(loss: NDArray[np.float64]) -> float:
    """Return by how much the last frames are off the others: a sky that changes may go on to do so."""
    return abs(float(np.nanmedian(loss[-_RECENT:]) - np.nanmedian(loss)))


def _column(known: Sequence[KnownZeroPoint], name: str) -> NDArray[np.float64]:
    return np.array([getattr(one, name) for one in known], np.float64)
