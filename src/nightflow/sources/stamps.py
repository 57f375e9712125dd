"""Pixels around many positions at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ring_offsets", "stamp_indices"]


def ring_offsets(inner: float, outer: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return (dy, dx) of the whole pixels whose centres lie between two radii, both included.

    Parameters
    ----------
    inner, outer : float
        Pixels; an ``inner`` of 0 gives a disc.
    """
    half = int(np.ceil(outer))
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1]
    distance = np.hypot(dx, dy)
    inside = (distance >= inner) & (distance <= outer)
    return dy[inside], dx[inside]


def stamp_indices(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    offsets: tuple[NDArray[np.intp], NDArray[np.intp]],
    shape: tuple[int, int],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return rows, columns and "inside the frame" of the pixels around each position.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n,)
        0-based pixels.
    offsets : tuple of ndarray, shape (m,)
        (dy, dx) as from `ring_offsets`.
    shape : tuple of int
        (ny, nx).

    Returns
    -------
    rows, columns : ndarray of int, shape (n, m)
        Clipped to the frame, so that they may always be used as indices.
    inside : ndarray of bool, shape (n, m)
        False where they had to be clipped.
    """
    rows = np.rint(y).astype(np.intp)[:, None] + offsets[0][None, :]
    columns = np.rint(x).astype(np.intp)[:, None] + offsets[1][None, :]
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1), inside
