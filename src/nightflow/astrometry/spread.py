"""Pick stars evenly over a frame.

The brightest stars of a frame may all sit in one cluster; a solver that takes those only fails on
the fields people like best. So: the brightest of each cell first, then the second of each, and so on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import UNUSABLE, Flag
from nightflow.sources.table import SourceTable

__all__ = ["cell_size", "evenly", "select_stars"]

_CELLS = 4
_MAXIMUM_ELLIPTICITY = 0.5
_ELLIPTICITY_MARGIN = 0.3
_SHARPEST = 0.5
_BLEND_HANDICAP = 10.0
"""How much brighter than a clean star a blended one must be to go before it. Without a bound a cluster would
send its faintest clean stars only, and a shallow catalogue has none of those."""


def cell_size(shape: tuple[int, int]) -> float:
    """Return the side in pixels of the cells over which the stars of a frame are spread."""
    return max(shape) / _CELLS


def evenly(
    x: NDArray[np.float64], y: NDArray[np.float64], brightness: NDArray[np.float64], cell: float, limit: int
) -> NDArray[np.intp]:
    """Return the indices of up to ``limit`` points: the brightest of each cell first, then the second.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions in any unit.
    brightness : ndarray, shape (n,)
        Larger is brighter; NaN comes last.
    cell : float
        Side of a cell in the unit of x and y.
    limit : int
        How many at most.
    """
    brightness = np.where(np.isnan(brightness), -np.inf, brightness)
    column, row = np.floor(x / cell).astype(np.int64), np.floor(y / cell).astype(np.int64)
    order = np.lexsort((-brightness, row, column))
    new_cell = np.ones(len(x), bool)
    new_cell[1:] = (np.diff(column[order]) != 0) | (np.diff(row[order]) != 0)
    first = np.maximum.accumulate(np.where(new_cell, np.arange(len(x)), 0))
    rank = np.empty(len(x), np.int64)
    rank[order] = np.arange(len(x)) - first
    return np.lexsort((-brightness, rank))[:limit]


def select_stars(sources: SourceTable, shape: tuple[int, int], limit: int = 300) -> NDArray[np.intp]:
    """Return the rows of ``sources`` that a solver should see, brightest first.

    Left out are sources with unusable pixels or at the edge, those much more elongated than the frame's
    median (trails, blends, bleeding columns) and those much sharper than a star (cosmic rays, hot pixels).
    Round saturated stars stay: their flux is too low, but they are the ones that every catalogue has. So do
    stars with a hit somewhere in the aperture: hit pixels are filled before positions are measured.
    Stars with a neighbour's light in the aperture come after clean ones of a tenth of their flux or more: in
    a cluster there may be no others.

    Parameters
    ----------
    sources : SourceTable
        What detection found.
    shape : tuple of int
        (ny, nx) of the frame.
    limit : int
        How many at most; they are taken evenly over the frame.
    """
    unwanted = (UNUSABLE | Flag.EDGE) & ~(Flag.SATURATED | Flag.COSMIC_RAY)
    clean = (sources.flags & int(unwanted)) == 0
    clean &= np.isfinite(sources.x) & np.isfinite(sources.y) & (sources.flux > 0)
    if not clean.any():
        return np.empty(0, np.intp)
    roundest = float(np.nanmedian(sources.ellipticity[clean]))
    width = float(np.nanmedian(sources.fwhm[clean]))
    with np.errstate(invalid="ignore"):
        clean &= ~(sources.ellipticity > max(_MAXIMUM_ELLIPTICITY, roundest + _ELLIPTICITY_MARGIN))
        clean &= ~(sources.fwhm < _SHARPEST * width)
    rows = np.flatnonzero(clean)
    blended = (sources.flags[rows] & int(Flag.NEIGHBOUR)) != 0
    rank = np.where(blended, sources.flux[rows] / _BLEND_HANDICAP, sources.flux[rows])
    rows = rows[evenly(sources.x[rows], sources.y[rows], rank, cell_size(shape), limit)]
    return rows[np.argsort(-sources.flux[rows], kind="stable")]
