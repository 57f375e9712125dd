"""Sky in an annulus around each source."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.robust import MAD_TO_SIGMA
from nightflow.sources.stamps import ring_offsets

__all__ = ["local_background"]

_CLIP_SIGMA = 3.0
_CLIP_ROUNDS = 3
_FEWEST_PIXELS = 12


def local_background(
    data: NDArray[np.float32],
    mask: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    inner: float,
    outer: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the clipped mean of the unmasked pixels of an annulus around each position, and its error.

    Pixels that belong to a detected source should be masked; what is left of them is clipped about the median
    by the median absolute deviation.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Electrons.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel must not count.
    x, y : ndarray of float64, shape (n,)
        0-based pixels.
    inner, outer : float
        Radii in pixels.

    Returns
    -------
    level, error : ndarray of float64, shape (n,)
        Electrons a pixel. Where fewer than 12 pixels are left the level is 0 and the error NaN: the
        caller falls back on the mesh background.
    """
    dy, dx = ring_offsets(inner, outer)
    level, error = np.zeros(len(x)), np.full(len(x), np.nan)
    row, column = np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)
    _clipped_means(data, mask, row, column, dy, dx, level, error)
    return level, error


@numba.njit(nogil=True, cache=True)
def _clipped_means(
    data: NDArray[np.float32],
    mask: NDArray[np.bool_],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    dy: NDArray[np.intp],
    dx: NDArray[np.intp],
    level: NDArray[np.float64],
    error: NDArray[np.float64],
) -> None:
    """Write the clipped mean of each place's ring, and its error, where enough pixels are left."""
    ny, nx = data.shape
    values = np.empty(len(dy), np.float64)
    for place in range(len(row)):
        count = 0
        for offset in range(len(dy)):
            y, x = row[place] + dy[offset], column[place] + dx[offset]
            if 0 <= y < ny and 0 <= x < nx and not mask[y, x] and not np.isnan(data[y, x]):
                values[count] = data[y, x]
                count += 1
        if count >= _FEWEST_PIXELS:
            ring = values[:count]
            ring.sort()
            level[place], error[place] = _mean_and_error(ring[_kept(ring)])


@numba.njit(nogil=True, cache=True)
def _kept(values: NDArray[np.float64]) -> slice:
    """Return which of the ascending values are left after clipping: they are neighbours."""
    first, stop = 0, len(values)
    for _ in range(_CLIP_ROUNDS):
        middle = _median(values[first:stop])
        limit = max(_CLIP_SIGMA * MAD_TO_SIGMA * _mad(values[first:stop], middle), 1e-12)
        while middle - values[first] > limit:
            first += 1
        while values[stop - 1] - middle > limit:
            stop -= 1
    return slice(first, stop)


@numba.njit(nogil=True, cache=True)
def _median(values: NDArray[np.float64]) -> float:
    half = len(values) // 2
    return values[half] if len(values) % 2 else 0.5 * (values[half - 1] + values[half])


@numba.njit(nogil=True, cache=True)
def _mad(values: NDArray[np.float64], middle: float) -> float:
    """Return the median distance of ascending values from their middle: both ends are walked inwards."""
    low, high = 0, len(values) - 1
    last = previous = np.inf
    # Of n distances the half greatest and the median itself are met.
    for _ in range(len(values) // 2 + 1):
        below, above = middle - values[low], values[high] - middle
        previous = last
        if below > above:
            last = below
            low += 1
        else:
            last = above
            high -= 1
    return last if len(values) % 2 else 0.5 * (previous + last)


@numba.njit(nogil=True, cache=True)
def _mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    mean = values.mean()
    return mean, np.sqrt(((values - mean) ** 2).mean() / max(len(values) - 1, 1))
