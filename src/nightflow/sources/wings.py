"""Detections that the wings of brighter ones made: SExtractor's cleaning (Bertin & Arnouts 1996)."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.sources.isophotes import Isophotes

__all__ = ["in_wings"]

_REACH = 10.0
"""Sums of semi-major axes."""
_LONG = 10.0
"""In units of the median. Such are few, a bleed down a column say, and would make all others look far."""


def in_wings(found: Isophotes) -> NDArray[np.bool_]:
    """Return which detections would not stand above the threshold without a brighter one's wings.

    Those are taken for a Moffat profile with beta = 1 through isophote and peak, wider than a star's is. They
    are looked at in their order, and what was removed before its turn comes removes no other.

    Parameters
    ----------
    found : Isophotes
    """
    major, minor, _ = found.axes
    area = np.pi * major * minor
    height = found.light / (2 * area * found.fullness)
    slope = (height / found.threshold - 1) * area / found.pixels
    determinant = found.xx * found.yy - found.xy**2
    shape = np.column_stack([found.yy / determinant, found.xx / determinant, -2 * found.xy / determinant])
    removed = np.zeros(len(major), np.bool_)
    by_row = np.argsort(found.y, kind="stable")
    long = np.flatnonzero(major > _LONG * np.median(major)) if len(major) else np.zeros(0, np.intp)
    widest = float(np.delete(major, long).max(initial=0.0))
    brightness = found.light, height, slope, shape, found.contrast
    _clean(found.x, found.y, major, *brightness, by_row, widest, long, removed)
    return removed


@numba.njit(nogil=True, cache=True)
def _clean(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    major: NDArray[np.float64],
    light: NDArray[np.float64],
    height: NDArray[np.float64],
    slope: NDArray[np.float64],
    shape: NDArray[np.float64],
    contrast: NDArray[np.float64],
    by_row: NDArray[np.intp],
    widest: float,
    long: NDArray[np.intp],
    removed: NDArray[np.bool_],
) -> None:
    rows = y[by_row]
    for one in range(len(x)):
        if removed[one]:
            continue
        reach = _REACH * (major[one] + widest)
        for place in range(np.searchsorted(rows, y[one] - reach), len(rows)):
            other = by_row[place]
            if y[other] > y[one] + reach:
                break
            _judge(one, other, x, y, major, light, height, slope, shape, contrast, removed)
        for other in long:
            _judge(one, other, x, y, major, light, height, slope, shape, contrast, removed)


@numba.njit(nogil=True, cache=True)
def _judge(
    one: int,
    other: int,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    major: NDArray[np.float64],
    light: NDArray[np.float64],
    height: NDArray[np.float64],
    slope: NDArray[np.float64],
    shape: NDArray[np.float64],
    contrast: NDArray[np.float64],
    removed: NDArray[np.bool_],
) -> None:
    if other <= one or removed[other]:
        return
    dx, dy = x[one] - x[other], y[one] - y[other]
    near = _REACH * (major[one] + major[other])
    if dx * dx + dy * dy > near * near:
        return
    bright, faint = (one, other) if light[other] < light[one] else (other, one)
    form = shape[bright]
    beyond = slope[bright] * (form[0] * dx * dx + form[1] * dy * dy + form[2] * dx * dy)
    if beyond > 0 and height[bright] / (1 + beyond) > contrast[faint]:
        removed[faint] = True
