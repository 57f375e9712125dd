"""The loops over pixels of `nightflow.detector.lacosmic`, compiled by numba.

Borders are astroscrappy's, so that masks can be compared: light beyond the edge counts as zero in the
Laplacian; a median whose window reaches over the edge is the pixel itself.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["BRIGHT", "SEED", "grow", "laplacian", "low_variance", "mark", "replace"]

BRIGHT, SEED = 1, 2
"""Marks of a pixel: it stands out of its surroundings; it does so and is too sharp for a star."""

_LEAST_VARIANCE = np.float32(1e-5)
_LEAST_STRUCTURE = np.float32(0.01)
"""Bounds below, those of astroscrappy and of the original programs."""
_WINDOW, _HALF = 25, 13
"""Pixels in 5 x 5, and from how many below a value the median is below it."""
_UNKNOWN = np.float32(0)
"""No noise is: it has a bound below. Zeros cost nothing where nobody looks."""


@numba.njit(nogil=True, cache=True)
def _median(values: NDArray[np.float32], count: int) -> np.float32:
    """Return the median of the first ``count`` values, an odd number of them; they are sorted in place."""
    for i in range(1, count):
        value = values[i]
        j = i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
    return values[count // 2]


@numba.njit(nogil=True, cache=True)
def laplacian(data: NDArray[np.float32], out: NDArray[np.float32], start: int, stop: int) -> None:
    """Write the clipped Laplacian of the image sampled twice as finely, averaged back, into rows of ``out``.

    Two of the four neighbours of a quarter pixel are quarters of the same pixel. So each quarter's Laplacian
    is twice the pixel minus one neighbour in x and one in y, and no finer image is needed.
    """
    ny, nx = data.shape
    zero, two = np.float32(0), np.float32(2)
    for y in range(start, stop):
        for x in range(nx):
            center = two * data[y, x]
            down = center - (data[y - 1, x] if y > 0 else zero)
            up = center - (data[y + 1, x] if y < ny - 1 else zero)
            left = data[y, x - 1] if x > 0 else zero
            right = data[y, x + 1] if x < nx - 1 else zero
            total = max(down - left, zero) + max(down - right, zero)
            total += max(up - left, zero) + max(up - right, zero)
            out[y, x] = np.float32(0.25) * total


@numba.njit(nogil=True, cache=True)
def low_variance(variance: NDArray[np.float32], tile: int) -> NDArray[np.float32]:
    """Return for each tile the least variance in it and in the tiles around it."""
    ny, nx = variance.shape
    rows, columns = (ny + tile - 1) // tile, (nx + tile - 1) // tile
    least = np.full((rows, columns), np.inf, np.float32)
    for y in range(ny):
        for x in range(nx):
            least[y // tile, x // tile] = min(least[y // tile, x // tile], variance[y, x])
    around = np.empty_like(least)
    for row in range(rows):
        for column in range(columns):
            around[row, column] = least[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].min()
    return around


@numba.njit(nogil=True, cache=True)
def _median_is_below(variance: NDArray[np.float32], y: int, x: int, limit: np.float32) -> bool:
    """Return whether the median variance in 5 x 5 pixels is below ``limit``, without sorting."""
    below = 0
    left = _WINDOW
    for row in range(y - 2, y + 3):
        for column in range(x - 2, x + 3):
            below += variance[row, column] < limit
            left -= 1
        if below >= _HALF:
            return True
        if below + left < _HALF:
            return False
    return below >= _HALF


@numba.njit(nogil=True, cache=True)
def _touches(mask: NDArray[np.bool_], y: int, x: int) -> bool:
    """Return whether a pixel or one of its eight neighbours is in the mask."""
    ny, nx = mask.shape
    for row in range(max(y - 1, 0), min(y + 2, ny)):
        for column in range(max(x - 1, 0), min(x + 2, nx)):
            if mask[row, column]:
                return True
    return False


@numba.njit(nogil=True, cache=True)
def _noise(
    variance: NDArray[np.float32], noise: NDArray[np.float32], buffer: NDArray[np.float32], y: int, x: int
) -> np.float32:
    """Return the noise of one pixel from the median variance around it; remembered in ``noise``."""
    if noise[y, x] != _UNKNOWN:
        return noise[y, x]
    ny, nx = variance.shape
    if y < 2 or x < 2 or y >= ny - 2 or x >= nx - 2:
        typical = variance[y, x]
    else:
        count = 0
        for row in range(y - 2, y + 3):
            for column in range(x - 2, x + 3):
                buffer[count] = variance[row, column]
                count += 1
        typical = _median(buffer, count)
    noise[y, x] = np.float32(np.sqrt(max(typical, _LEAST_VARIANCE)))
    return noise[y, x]


@numba.njit(nogil=True, cache=True)
def _significance(
    sharp: NDArray[np.float32],
    variance: NDArray[np.float32],
    noise: NDArray[np.float32],
    buffers: NDArray[np.float32],
    y: int,
    x: int,
) -> np.float32:
    """Return S': the Laplacian over its noise, minus its median in 5 x 5, which takes stars' flanks away."""
    count = 0
    for row in range(y - 2, y + 3):
        for column in range(x - 2, x + 3):
            level = _noise(variance, noise, buffers[0], row, column)
            buffers[1, count] = sharp[row, column] / (np.float32(2) * level)
            count += 1
    own = buffers[1, _WINDOW // 2]
    return own - _median(buffers[1], count)


@numba.njit(nogil=True, cache=True)
def _small_median(data: NDArray[np.float32], buffer: NDArray[np.float32], y: int, x: int) -> np.float32:
    ny, nx = data.shape
    if y < 1 or x < 1 or y >= ny - 1 or x >= nx - 1:
        return data[y, x]
    count = 0
    for row in range(y - 1, y + 2):
        for column in range(x - 1, x + 2):
            buffer[count] = data[row, column]
            count += 1
    return _median(buffer, count)


@numba.njit(nogil=True, cache=True)
def _structure(
    data: NDArray[np.float32], level: np.float32, buffers: NDArray[np.float32], y: int, x: int
) -> np.float32:
    """Return the fine structure F: the median of 3 x 3 minus its median in 7 x 7, over the noise."""
    ny, nx = data.shape
    own = _small_median(data, buffers[0], y, x)
    if y < 3 or x < 3 or y >= ny - 3 or x >= nx - 3:
        return _LEAST_STRUCTURE
    count = 0
    for row in range(y - 3, y + 4):
        for column in range(x - 3, x + 4):
            buffers[1, count] = _small_median(data, buffers[0], row, column)
            count += 1
    return max((own - _median(buffers[1], count)) / level, _LEAST_STRUCTURE)


@numba.njit(nogil=True, cache=True)
def mark(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    sharp: NDArray[np.float32],
    noise: NDArray[np.float32],
    low: NDArray[np.float32],
    tile: int,
    excluded: NDArray[np.bool_],
    sigclip: float,
    objlim: float,
    marks: NDArray[np.uint8],
    start: int,
    stop: int,
) -> None:
    """Write `BRIGHT` or `SEED` into rows of ``marks`` where a pixel is one.

    The Laplacian is at least as large as S', so medians are needed only where it passes; whether it does is
    asked of the variances around without sorting them, and of the tile's least one before that.
    """
    ny, nx = data.shape
    buffers = np.empty((2, 49), np.float32)
    scale = np.float32(1 / (2 * sigclip) ** 2)
    limit = np.float32(sigclip)
    for y in range(max(start, 2), min(stop, ny - 2)):
        for x in range(2, nx - 2):
            passing = sharp[y, x] * sharp[y, x] * scale
            if passing <= max(low[y // tile, x // tile], _LEAST_VARIANCE):
                continue
            if not _median_is_below(variance, y, x, passing) or _touches(excluded, y, x):
                continue
            significance = _significance(sharp, variance, noise, buffers, y, x)
            if significance <= limit:
                continue
            structure = _structure(data, noise[y, x], buffers, y, x)
            marks[y, x] = SEED if significance / structure > objlim else BRIGHT


@numba.njit(nogil=True, cache=True)
def grow(
    variance: NDArray[np.float32],
    sharp: NDArray[np.float32],
    noise: NDArray[np.float32],
    excluded: NDArray[np.bool_],
    marks: NDArray[np.uint8],
    lower: float,
    hit: NDArray[np.bool_],
    start: int,
    stop: int,
) -> None:
    """Set ``hit`` at seeds of some rows, their bright neighbours, and neighbours of these above ``lower``."""
    ny, nx = hit.shape
    buffers = np.empty((2, 49), np.float32)
    limit = np.float32(lower)
    for y in range(max(start, 2), min(stop, ny - 2)):
        for x in range(2, nx - 2):
            if marks[y, x] == 0 or not (marks[y - 1 : y + 2, x - 1 : x + 2] == SEED).any():
                continue
            for row in range(max(y - 1, 2), min(y + 2, ny - 2)):
                for column in range(max(x - 1, 2), min(x + 2, nx - 2)):
                    if hit[row, column] or _touches(excluded, row, column):
                        continue
                    if _significance(sharp, variance, noise, buffers, row, column) > limit:
                        hit[row, column] = True


@numba.njit(nogil=True, cache=True)
def replace(
    data: NDArray[np.float32], hit: NDArray[np.bool_], excluded: NDArray[np.bool_], out: NDArray[np.float32]
) -> int:
    """Write the mean of the good pixels in 5 x 5 around each hit into ``out``.

    Returns
    -------
    int
        How many hits have no good pixel around; they are NaN in ``out``.
    """
    ny, nx = data.shape
    lonely = 0
    for y in range(2, ny - 2):
        for x in range(2, nx - 2):
            if not hit[y, x]:
                continue
            count, total = 0, np.float32(0)
            for row in range(y - 2, y + 3):
                for column in range(x - 2, x + 3):
                    if not (hit[row, column] or _touches(excluded, row, column)):
                        total += data[row, column]
                        count += 1
            lonely += count == 0
            out[y, x] = total / np.float32(count) if count else np.float32(np.nan)
    return lonely
