"""A plane of pixels as a coarse map: the level of each of its areas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAMPLES", "area_map", "area_side", "center_of"]

SAMPLES = 8
"""Pixels of an area that are looked at, along each axis: 64 give its level to 0.15 of one pixel's noise."""


def area_side(shape: tuple[int, int], areas: int, largest: int) -> int:
    """Return the side of square areas, pixels, so that there are about so many along the shorter axis."""
    return int(min(max(min(shape) // areas, SAMPLES), largest, *shape))


def area_map(plane: NDArray[np.floating], side: int) -> NDArray[np.float64]:
    """Return the level of each area, from up to `SAMPLES` x `SAMPLES` of its pixels spread over it.

    It is the mean of the middle half of their values: as robust as a median against stars and hot pixels, and
    not rounded to whole counts where the pixels are.

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
    count = np.isfinite(pixels).sum(axis=-1)[..., None]
    # NaN sort to the end, so the values of an area are its first ones.
    ordered = np.sort(pixels, axis=-1).astype(np.float64)
    number = np.arange(pixels.shape[-1])
    middle = (number >= count // 4) & (number < count - count // 4)
    level = np.where(middle, ordered, 0.0).sum(axis=-1) / np.maximum(middle.sum(axis=-1), 1)
    return np.asarray(np.where(2 * count[..., 0] >= pixels.shape[-1], level, np.nan))


def center_of(area: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the (x, y) pixel in the middle of an area (row, column) of the map."""
    return int(area[1] * side + side // 2), int(area[0] * side + side // 2)
