"""The matched filter and what stands above the threshold, in one pass over the pixels."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.parallel import in_bands

__all__ = ["runs_above"]

Plane = NDArray[np.float32]


def runs_above(
    data: Plane, rms: Plane, mask: NDArray[np.bool_], weights: Plane, threshold: float
) -> tuple[Plane, NDArray[np.int32]]:
    """Convolve an image and find the runs of pixels along rows that stand above the threshold.

    `sep.extract` does the same with a square of weights; those of a Gaussian are a product, so that two lines
    of them suffice.

    Parameters
    ----------
    data, rms : ndarray of float32, shape (ny, nx)
        Background-subtracted, and the noise of each pixel.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel counts as 0 in the convolution, and is in no run.
    weights : ndarray of float32
        Of the filter, along rows and along columns; an odd number of them.
    threshold : float
        In units of ``rms``.

    Returns
    -------
    smooth : ndarray of float32, shape (ny, nx)
        The convolved image; beyond its edges there is nothing.
    runs : ndarray of int32, shape (n, 3)
        Row, first column and the one after the last, in the order of rows and columns.
    """
    smooth = np.empty(data.shape, np.float32)
    level = np.float32(threshold)
    parts = in_bands(
        lambda start, stop: _band(data, rms, mask, weights, level, smooth, start, stop), len(data)
    )
    return smooth, np.concatenate(parts) if parts else np.empty((0, 3), np.int32)


@numba.njit(nogil=True, cache=True)
def _band(
    data: Plane,
    rms: Plane,
    mask: NDArray[np.bool_],
    weights: Plane,
    threshold: np.float32,
    smooth: Plane,
    start: int,
    stop: int,
) -> NDArray[np.int32]:
    """Convolve some rows and return their runs."""
    nx, half = data.shape[1], weights.size // 2
    lines = np.zeros((weights.size, nx), np.float32)
    padded = np.zeros(nx + 2 * half, np.float32)
    runs = np.empty((1024, 3), np.int32)
    count = 0
    for row in range(start - half, stop + half):
        _along_row(data, mask, weights, row, padded, lines[row % weights.size])
        y = row - half
        if y < start:
            continue
        out = smooth[y]
        out[:] = np.float32(0)
        for k in range(weights.size):
            weight, line = weights[k], lines[(y - half + k) % weights.size]
            for x in range(nx):
                out[x] += weight * line[x]
        if count + nx > len(runs):
            longer = np.empty((2 * len(runs) + nx, 3), np.int32)
            for k in range(count):  # one by one: assigning a slice takes seconds to compile
                longer[k, 0], longer[k, 1], longer[k, 2] = runs[k, 0], runs[k, 1], runs[k, 2]
            runs = longer
        count = _runs_of_row(out, rms[y], mask[y], threshold, y, runs, count)
    return runs[:count].copy()


@numba.njit(nogil=True, cache=True)
def _along_row(
    data: Plane, mask: NDArray[np.bool_], weights: Plane, row: int, padded: Plane, line: Plane
) -> None:
    """Convolve a row of the image along itself; one beyond its edges is empty."""
    line[:] = np.float32(0)
    if row < 0 or row >= data.shape[0]:
        return
    nx, half = line.size, weights.size // 2
    for x in range(nx):
        padded[half + x] = np.float32(0) if mask[row, x] else data[row, x]
    for k in range(weights.size):
        weight = weights[k]
        for x in range(nx):
            line[x] += weight * padded[x + k]


@numba.njit(nogil=True, cache=True)
def _runs_of_row(
    smooth: Plane,
    rms: Plane,
    mask: NDArray[np.bool_],
    threshold: np.float32,
    y: int,
    runs: NDArray[np.int32],
    count: int,
) -> int:
    inside = False
    for x in range(smooth.size):
        above = smooth[x] > threshold * rms[x] and not mask[x]
        if above != inside:
            if above:
                runs[count, 0], runs[count, 1] = y, x
            else:
                runs[count, 2] = x
                count += 1
            inside = above
    if inside:
        runs[count, 2] = smooth.size
        count += 1
    return count
