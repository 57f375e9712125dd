"""Values for pixels that hold none, so that sources can be looked for across them."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.parallel import in_bands
from nightflow.sources.stamps import ring_offsets

__all__ = ["fill_flagged"]

_REACH = 2.3
"""Pixels: the 5 x 5 neighbourhood without its corners."""
_FEWEST = 3


def fill_flagged(
    data: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Replace masked pixels by the median of the good ones around them.

    The replaced values serve for finding and for staying out of the way of sums; the flags of the pixels
    stay, so that nobody takes them for measured ones.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel has no value of its own.

    Returns
    -------
    filled : ndarray of float32, shape (ny, nx)
        Masked pixels without three good neighbours are 0.
    empty : ndarray of bool, shape (ny, nx)
        True for those.
    """
    filled = np.empty(data.shape, np.float32)
    empty = np.zeros(mask.shape, bool)
    holes = np.concatenate(
        in_bands(lambda start, stop: _copy_and_look(data, mask, filled, start, stop), len(data))
    )
    offsets = ring_offsets(0.5, _REACH)
    in_bands(lambda start, stop: _fill(data, mask, holes[start:stop], *offsets, filled, empty), len(holes))
    return filled, empty


@numba.njit(nogil=True, cache=True)
def _copy_and_look(
    data: NDArray[np.float32], mask: NDArray[np.bool_], filled: NDArray[np.float32], start: int, stop: int
) -> NDArray[np.int32]:
    """Copy rows with 0 for what is masked, and return (row, column) of that."""
    count = np.count_nonzero(mask[start:stop])
    holes = np.empty((count, 2), np.int32)
    place = 0
    for y in range(start, stop):
        line, masked, out = data[y], mask[y], filled[y]
        for x in range(line.size):
            out[x] = np.float32(0) if masked[x] else line[x]
        for x in range(line.size):
            if masked[x]:
                holes[place, 0], holes[place, 1] = y, x
                place += 1
    return holes


@numba.njit(nogil=True, cache=True)
def _fill(
    data: NDArray[np.float32],
    mask: NDArray[np.bool_],
    holes: NDArray[np.int32],
    dy: NDArray[np.intp],
    dx: NDArray[np.intp],
    filled: NDArray[np.float32],
    empty: NDArray[np.bool_],
) -> None:
    ny, nx = data.shape
    values = np.empty(dy.size, np.float32)
    for hole in range(len(holes)):
        row, column = holes[hole]
        count = 0
        for offset in range(dy.size):
            y, x = row + dy[offset], column + dx[offset]
            if 0 <= y < ny and 0 <= x < nx and not mask[y, x]:
                values[count] = data[y, x]
                count += 1
        if count >= _FEWEST:
            filled[row, column] = np.median(values[:count])
        else:
            empty[row, column] = True
