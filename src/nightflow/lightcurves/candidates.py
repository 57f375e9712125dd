"""Which stars may be comparison stars: well covered, well exposed, and about as bright as the target.

The bounds are widened step by step where too few stars are within; what ruled out each star is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bounds", "Candidates", "choose_candidates"]

_ENOUGH = 5
"""Candidates below which the bounds are widened."""
_ENOUGH_ON_A_FRAME = 3


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What is asked of a comparison star.

    Attributes
    ----------
    night : float
        Least part of the target's frames on which it is measured and usable.
    coverage : float
        The same, of those frames alone from the first to the last on which it is: while it is in the field.
    brighter, fainter : float
        Magnitudes by which it may differ from the target.
    noise : float
        Largest photon error, magnitudes.
    """

    night: float
    coverage: float
    brighter: float
    fainter: float
    noise: float


LADDER = (
    Bounds(night=0.9, coverage=0.9, brighter=3.0, fainter=1.5, noise=0.05),
    Bounds(night=0.7, coverage=0.7, brighter=4.0, fainter=2.0, noise=0.1),
    Bounds(night=0.4, coverage=0.5, brighter=6.0, fainter=3.0, noise=0.2),
    # Where the field drifts, stars are there for a while.
    Bounds(night=0.0, coverage=0.5, brighter=6.0, fainter=3.0, noise=0.2),
    Bounds(night=0.0, coverage=0.1, brighter=15.0, fainter=15.0, noise=0.4),
)
"""From strict to wide; the first that leaves enough stars is used, else the widest."""
_FEWEST_FRAMES = 5
"""On which a star must be for its mean to be worth anything, or on a tenth of fewer than 50."""


@dataclass(frozen=True)
class Candidates:
    """Columns of the stars that may be comparison stars, and why the others may not.

    Attributes
    ----------
    stars : tuple of int
        Ascending, without the target.
    rejected : dict of int to str
        Column -> reason.
    """

    stars: tuple[int, ...]
    rejected: dict[int, str]


def choose_candidates(
    mag: NDArray[np.float64], noise: NDArray[np.float64], target: int, usable: NDArray[np.bool_]
) -> Candidates:
    """Return the stars that pass the strictest bounds that leave enough of them.

    Enough means at least 5, and 3 on each frame where the widest bounds have 3: where the field drifts, there
    may be no star that is there all night.

    Parameters
    ----------
    mag, noise : ndarray of float64, shape (n_frames, n_stars)
        Instrumental magnitudes and their photon errors, NaN where there are none.
    target : int
        Column of the target; never a candidate.
    usable : ndarray of bool, shape (n_frames, n_stars)
        False where a measurement must not count.
    """
    good = usable & np.isfinite(mag) & np.isfinite(noise)
    rungs = [_within(bounds, mag, noise, target, good) for bounds in LADDER]
    possible = _served(rungs[-1], good)
    for candidates in rungs:
        if len(candidates.stars) >= _ENOUGH and not np.any(possible & ~_served(candidates, good)):
            return candidates
    return rungs[-1]


def _served(candidates: Candidates, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which frames have enough of the candidates."""
    return good[:, list(candidates.stars)].sum(axis=1) >= _ENOUGH_ON_A_FRAME


def _within(
    bounds: Bounds,
    mag: NDArray[np.float64],
    noise: NDArray[np.float64],
    target: int,
    good: NDArray[np.bool_],
) -> Candidates:
    frames = np.isfinite(mag[:, target])
    stars: list[int] = []
    rejected: dict[int, str] = {}
    for star in range(mag.shape[1]):
        if star == target:
            continue
        both = good[:, star] & frames
        place = np.flatnonzero(both[frames])
        span = int(place[-1] - place[0] + 1) if len(place) else 0
        n = int(frames.sum())
        reason = _fault(bounds, mag[both, star], mag[both, target], noise[both, star], n, span)
        if reason:
            rejected[star] = reason
        else:
            stars.append(star)
    return Candidates(tuple(stars), rejected)


def _fault(
    bounds: Bounds,
    mag: NDArray[np.float64],
    target_mag: NDArray[np.float64],
    noise: NDArray[np.float64],
    frames: int,
    span: int,
) -> str:
    """Return what is wrong with a star, from its measurements on the target's frames; "" where nothing is.

    ``span`` is how many of those frames there are from its first to its last.
    """
    least = max(bounds.night * frames, min(_FEWEST_FRAMES, 0.1 * frames))
    if len(mag) == 0 or len(mag) < least:
        return f"usable on {len(mag)} of {frames} frames"
    if len(mag) < bounds.coverage * span:
        return f"usable on {len(mag)} of {span} frames while it is in the field"
    fainter = float(np.median(mag - target_mag))
    if not -bounds.brighter <= fainter <= bounds.fainter:
        return f"{abs(fainter):.1f} mag {'fainter' if fainter > 0 else 'brighter'} than the target"
    if (typical := float(np.median(noise))) > bounds.noise:
        return f"photon error {typical:.3f} mag"
    return ""
