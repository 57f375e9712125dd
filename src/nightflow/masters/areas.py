"""A plane of pixels as a coarse map: the median of each of its areas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAMPLES", "area_map", "area_side", "center_of"]

SAMPLES = 8
"""Pixels of an area that are looked at, along each axis: 64 give a median to 0.16 of one pixel's noise."""


def area_side(shape: tuple[int, int], areas: int, largest: int) -> int:
    """Return the side of square areas, pixels, so that there are about so many along the shorter axis."""
    return int(min(max(min(shape) // areas, SAMPLES), largest, *shape))


def area_map(plane: NDArray[np.floating], side: int) -> NDArray[np.float64]:
    """Return the median of each area, from up to `SAMPLES` x `SAMPLES` of its pixels spread over it.

    Parameters
    ----------
    plane : ndarray of float, shape (ny, nx)
        NaN where there is no value.
    side : int
        Of an area, pixels. What is left over at the upper edges is in no area.

    Returns
    -------
    ndarray of float64, shape (ny // side, nx // side)
        NaN where fewer than half of an area's pixels have a value.
    """
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    step = max(1, side // SAMPLES)
    cut = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)[:, ::step, :, ::step]
    pixels = np.moveaxis(cut, 2, 1).reshape(rows, columns, -1)
    count = np.isfinite(pixels).sum(axis=-1)
    # NaN sort to the end, so the values of an area are its first ones.
    ordered = np.sort(pixels, axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    middle = (_pick(ordered, low) + _pick(ordered, np.minimum(high, ordered.shape[-1] - 1))) / 2
    return np.asarray(np.where(2 * count >= pixels.shape[-1], middle, np.nan), np.float64)


def center_of(area: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the (x, y) pixel in the middle of an area (row, column) of the map."""
    return int(area[1] * side + side // 2), int(area[0] * side + side // 2)


def _pick(ordered: NDArray[np.floating], index: NDArray[np.integer]) -> NDArray[np.floating]:
    return np.take_along_axis(ordered, index[..., None], axis=-1)[..., 0]
