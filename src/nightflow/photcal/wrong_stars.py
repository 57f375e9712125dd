"""Stars of a night whose catalogue magnitude the others disagree with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.photcal.bands import Reference
from nightflow.photcal.colors import StarColors
from nightflow.photcal.night_model import Array, NightStars
from nightflow.robust import robust_sigma

__all__ = ["wrong_stars"]

_CLIP = 4.0
_FLOOR = 1e-3
"""Magnitudes: no scatter is smaller."""


def wrong_stars(
    n_frames: int, rows: NightStars, reference: Reference, colors: StarColors | None
) -> NDArray[np.bool_]:
    """Return which stars' catalogue magnitude is off by more than the others allow; by medians alone.

    Parameters
    ----------
    n_frames : int
    rows : NightStars
        Measurements.
    reference : Reference
        Of the stars.
    colors : StarColors or None
        None without a colour term.
    """
    values = reference.mag[rows.star] - rows.mag
    offset = np.zeros(len(reference.mag))
    for _ in range(5):
        level = _medians(values - offset[rows.star], rows.frame, n_frames)
        offset = np.nan_to_num(_medians(values - level[rows.frame], rows.star, len(offset)))
    seen = np.bincount(rows.star, minlength=len(offset)) > 0
    if colors is not None and seen.sum() > 10:
        slope = np.polyfit(colors.value[seen], offset[seen], 1)
        offset = offset - np.polyval(slope, colors.value)
    sigma = np.hypot(max(robust_sigma(offset[seen]), _FLOOR), reference.error)
    return seen & (np.abs(offset - np.median(offset[seen])) > _CLIP * sigma)


def _medians(values: Array, group: NDArray[np.intp], count: int) -> Array:
    """Return the median of each group, NaN of an empty one."""
    out = np.full(count, np.nan)
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(count + 1))
    for number in np.flatnonzero(np.diff(bounds)):
        out[number] = np.median(values[order[bounds[number] : bounds[number + 1]]])
    return out
