"""Values for pixels that hold none, so that sources can be looked for across them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.sources.stamps import ring_offsets, stamp_indices

__all__ = ["fill_flagged"]

_REACH = 2.3
"""Pixels: the 5 x 5 neighbourhood without its corners."""
_FEWEST = 3
_BLOCK = 200_000


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
    filled = np.where(mask, np.float32(0), data)
    empty = np.zeros(mask.shape, bool)
    offsets = ring_offsets(0.5, _REACH)
    rows, columns = np.nonzero(mask)
    for start in range(0, len(rows), _BLOCK):
        row, column = rows[start : start + _BLOCK], columns[start : start + _BLOCK]
        at_row, at_column, inside = stamp_indices(
            column.astype(float), row.astype(float), offsets, (data.shape[0], data.shape[1])
        )
        good = inside & ~mask[at_row, at_column]
        enough = good.sum(axis=1) >= _FEWEST
        values = np.where(good, data[at_row, at_column], np.nan)[enough]
        filled[row[enough], column[enough]] = np.nanmedian(values, axis=1)
        empty[row[~enough], column[~enough]] = True
    return filled, empty
