"""Detections that the wings of brighter ones made: SExtractor's cleaning (Bertin & Arnouts 1996)."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.sources.isophotes import Isophotes

__all__ = ["in_wings"]

_REACH = 10.0
"""Sums of semi-major axes."""


def in_wings(found: Isophotes) -> NDArray[np.bool_]:
    """Return which detections would not stand above the threshold without a brighter one's wings.

    Those are taken for a Moffat profile with beta = 1 through isophote and peak, wider than a star's is. They
    are looked at in their order: what a brighter one has removed removes no other.

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
    _clean(found.x, found.y, major, found.light, height, slope, shape, found.contrast, by_row, removed)
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
    removed: NDArray[np.bool_],
) -> None:
    if len(x) == 0:
        return
    rows, widest = y[by_row], major.max()
    for one in range(len(x)):
        if removed[one]:
            continue
        reach = _REACH * (major[one] + widest)
        for place in range(np.searchsorted(rows, y[one] - reach), len(rows)):
            other = by_row[place]
            if y[other] > y[one] + reach:
                break
            if other <= one or removed[other]:
                continue
            dx, dy = x[one] - x[other], y[one] - y[other]
            near = _REACH * (major[one] + major[other])
            if dx * dx + dy * dy > near * near:
                continue
            bright, faint = (one, other) if light[other] < light[one] else (other, one)
            form = shape[bright]
            beyond = slope[bright] * (form[0] * dx * dx + form[1] * dy * dy + form[2] * dx * dy)
            if beyond > 0 and height[bright] / (1 + beyond) > contrast[faint]:
                removed[faint] = True
