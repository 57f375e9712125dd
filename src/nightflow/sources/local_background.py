"""Sky in an annulus around each source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.robust import MAD_TO_SIGMA
from nightflow.sources.stamps import ring_offsets, stamp_indices

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
    rows, columns, inside = stamp_indices(x, y, ring_offsets(inner, outer), (data.shape[0], data.shape[1]))
    values = np.where(inside & ~mask[rows, columns], data[rows, columns].astype(np.float64), np.nan)
    enough = np.isfinite(values).sum(axis=1) >= _FEWEST_PIXELS
    level = np.zeros(len(x))
    error = np.full(len(x), np.nan)
    if enough.any():
        level[enough], error[enough] = _clipped_mean(values[enough])
    return level, error


def _clipped_mean(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and error of the mean of each row, NaN ignored; ``values`` is changed."""
    for _ in range(_CLIP_ROUNDS):
        middle = np.nanmedian(values, axis=1, keepdims=True)
        sigma = MAD_TO_SIGMA * np.nanmedian(np.abs(values - middle), axis=1, keepdims=True)
        values[np.abs(values - middle) > np.maximum(_CLIP_SIGMA * sigma, 1e-12)] = np.nan
    count = np.isfinite(values).sum(axis=1)
    return np.nanmean(values, axis=1), np.nanstd(values, axis=1) / np.sqrt(np.maximum(count - 1, 1))
