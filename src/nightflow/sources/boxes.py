"""Level and noise of the sky in boxes: clipped modes of histograms, as SExtractor has them."""

from __future__ import annotations

from math import sqrt

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.parallel import in_bands

__all__ = ["filtered", "measure_boxes", "without_gaps"]

_LEAST_USABLE = 0.5
"""Of a box's pixels."""
_ROUNDING = 1e-6
_FIRST_CLIP, _CLIP, _CONVERGED, _MOST_ROUNDS = 2.0, 3.0, 1e-4, 100
_HISTOGRAM_SIGMAS, _MOST_BINS = 5.0, 4096
_BINS_A_PIXEL = sqrt(2 / np.pi) * _HISTOGRAM_SIGMAS / 4
"""Of which the fullest holds about four pixels."""
_SYMMETRIC = 0.3
"""Mean less median, in sigma, up to which the mode is extrapolated from both; beyond, the median stands."""


def measure_boxes(
    data: NDArray[np.float32], mask: NDArray[np.bool_], box: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mode and clipped standard deviation of the pixels of each box (Bertin & Arnouts 1996).

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel must not count.
    box : int
        Side in pixels; the last ones may be narrower.

    Returns
    -------
    level, noise : ndarray of float64, shape (rows of boxes, boxes in a row)
        NaN where less than half of the pixels count.
    """
    rows, columns = (-(-length // box) for length in data.shape)
    level, noise = np.full((rows, columns), np.nan), np.full((rows, columns), np.nan)
    in_bands(lambda start, stop: _rows_of_boxes(data, mask, box, level, noise, start, stop), rows)
    return level, noise


def without_gaps(mesh: NDArray[np.float64], otherwise: float) -> NDArray[np.float64]:
    """Return a mesh with the mean of the nearest known boxes where a box is NaN; a value where all are."""
    known = np.argwhere(np.isfinite(mesh))
    if len(known) == 0:
        return np.full_like(mesh, otherwise)
    full = mesh.copy()
    for gap in np.argwhere(~np.isfinite(mesh)):
        distance = ((known - gap) ** 2).sum(axis=1)
        full[tuple(gap)] = mesh[tuple(known[distance == distance.min()].T)].mean()
    return full


@numba.njit(nogil=True, cache=True)
def filtered(mesh: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the median of the boxes around each; towards the edges of fewer, but as many on either side."""
    rows, columns = mesh.shape
    found = np.empty_like(mesh)
    for row in range(rows):
        up = min(size // 2, row, rows - 1 - row)
        for column in range(columns):
            beside = min(size // 2, column, columns - 1 - column)
            around = mesh[row - up : row + up + 1, column - beside : column + beside + 1]
            found[row, column] = np.median(around.copy())
    return found


@numba.njit(nogil=True, cache=True)
def _rows_of_boxes(
    data: NDArray[np.float32],
    mask: NDArray[np.bool_],
    box: int,
    level: NDArray[np.float64],
    noise: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    values = np.empty(box * box, np.float32)
    for row in range(start, stop):
        bottom, top = row * box, min((row + 1) * box, data.shape[0])
        for column in range(level.shape[1]):
            left, right = column * box, min((column + 1) * box, data.shape[1])
            count = 0
            for y in range(bottom, top):
                line, masked = data[y, left:right], mask[y, left:right]
                for x in range(line.size):
                    values[count] = line[x]
                    count += 1 if not masked[x] and np.isfinite(line[x]) else 0
            if count >= max(_LEAST_USABLE * (top - bottom) * (right - left), 1):
                level[row, column], noise[row, column] = _mode_and_sigma(values[:count])


@numba.njit(nogil=True, cache=True, fastmath={"reassoc"})
def _moments(values: NDArray[np.float32], low: float, high: float, middle: float) -> tuple[int, float, float]:
    """Return how many values are within limits, their mean and standard deviation."""
    count, total, squares = 0, 0.0, 0.0
    for value in values:
        # Without a branch, so that several are added at a time.
        weight = 1.0 if low <= value <= high else 0.0
        off = weight * (value - middle)
        count += int(weight)
        total += off
        squares += off * off
    mean = total / count
    return count, middle + mean, sqrt(max(squares / count - mean * mean, 0.0))


@numba.njit(nogil=True, cache=True)
def _mode_and_sigma(values: NDArray[np.float32]) -> tuple[float, float]:
    _, mean, sigma = _moments(values, -np.inf, np.inf, float(values[0]))
    cut = _FIRST_CLIP * sigma
    count, mean, sigma = _moments(values, mean - cut, mean + cut, mean)
    if sigma < _ROUNDING * cut:
        # One value is left, of a sky in few quanta: no finer histogram tells more.
        sigma = 0.0
    n_bins = min(int(_BINS_A_PIXEL * count + 1), _MOST_BINS)
    width = 2 * _HISTOGRAM_SIGMAS * sigma / n_bins if sigma > 0 else 1.0
    zero = mean - _HISTOGRAM_SIGMAS * sigma
    histogram, per_width = np.zeros(n_bins), 1 / width
    for value in values:
        place = (value - zero) * per_width + 0.5
        if 0 <= place < n_bins:
            histogram[int(place)] += 1.0
    mode, spread = _mode_of_histogram(histogram)
    return zero + mode * width, spread * width


@numba.njit(nogil=True, cache=True, fastmath={"reassoc"})
def _bin_moments(histogram: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return how many values there are in some bins, the mean of those and their standard deviation."""
    count, total, squares = 0.0, 0.0, 0.0
    for one in range(histogram.size):
        place = float(one)
        count += histogram[one]
        total += histogram[one] * place
        squares += histogram[one] * place * place
    if count == 0:
        return 0.0, 0.0, 0.0
    mean = total / count
    return count, mean, sqrt(max(squares / count - mean * mean, 0.0))


@numba.njit(nogil=True, cache=True)
def _mode_of_histogram(histogram: NDArray[np.float64]) -> tuple[float, float]:
    """Return mode and standard deviation in bins, clipped about the median until nothing changes."""
    n_bins = histogram.size
    # Up to each bin: the median costs no pass over the bins.
    below = np.zeros(n_bins + 1)
    below[1:] = np.cumsum(histogram)
    first, stop = 0, n_bins
    mean = median = 0.0
    sigma, before = 10.0 * n_bins, 1.0
    for _ in range(_MOST_ROUNDS):
        if sigma < 0.1 or abs(sigma / before - 1) <= _CONVERGED:
            break
        before = sigma
        count, mean, sigma = _bin_moments(histogram[first:stop])
        if count == 0:
            break
        mean += first
        half = below[first] + 0.5 * count
        middle = max(np.searchsorted(below[first : stop + 1], half) - 1, 0) + first
        median = middle - 0.5 + (half - below[middle]) / histogram[middle]
        first = max(int(median - _CLIP * sigma + 0.5), 0)
        stop = min(int(median + _CLIP * sigma + 0.5), n_bins - 1) + 1
    if sigma > 0 and abs(mean - median) < _SYMMETRIC * sigma:
        return 2.5 * median - 1.5 * mean, sigma
    return (median, sigma) if sigma > 0 else (mean, 0.0)
