"""Sky in an annulus around each source."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.parallel import in_bands
from nightflow.robust import MAD_TO_SIGMA
from nightflow.sources.stamps import ring_offsets

__all__ = ["local_background"]

_CLIP_SIGMA = 3.0
_CLIP_ROUNDS = 3
_FEWEST_PIXELS = 12
_PLACES = 512
"""Whose rings are sorted at a time: they stay in the cache."""


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

    def work(first: int, stop: int) -> None:
        for start in range(first, stop, _PLACES):
            part = slice(start, min(start + _PLACES, stop))
            rings = np.full((len(row[part]), len(dy)), np.nan, data.dtype)
            counts = _gather(data, mask, row[part], column[part], dy, dx, rings)
            # numpy sorts several times as fast as numba; what was masked is NaN, and goes to the end.
            rings.sort(axis=1)
            _clipped_means(rings, counts, level[part], error[part])

    in_bands(work, len(x))
    return level, error


@numba.njit(nogil=True, cache=True)
def _gather(
    data: NDArray[np.float32],
    mask: NDArray[np.bool_],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    dy: NDArray[np.intp],
    dx: NDArray[np.intp],
    rings: NDArray[np.float32],
) -> NDArray[np.intp]:
    """Write the pixels of each place's ring that count into a row, and return how many they are."""
    ny, nx = data.shape
    counts = np.zeros(len(row), np.intp)
    for place in range(len(row)):
        count = 0
        for offset in range(len(dy)):
            y, x = row[place] + dy[offset], column[place] + dx[offset]
            if 0 <= y < ny and 0 <= x < nx and not mask[y, x] and not np.isnan(data[y, x]):
                rings[place, count] = data[y, x]
                count += 1
        counts[place] = count
    return counts


@numba.njit(nogil=True, cache=True)
def _clipped_means(
    rings: NDArray[np.float32],
    counts: NDArray[np.intp],
    level: NDArray[np.float64],
    error: NDArray[np.float64],
) -> None:
    """Write the clipped mean of each ascending ring, and its error, where enough pixels are left."""
    for place in range(len(counts)):
        if counts[place] >= _FEWEST_PIXELS:
            ring = rings[place, : counts[place]].astype(np.float64)
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
