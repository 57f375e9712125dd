"""One image out of a colour filter mosaic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CELL_NOISE", "luminance"]

CELL_NOISE = 0.5
"""Noise of one cell over that of one pixel of the mosaic: each is the mean of four pixels.

Cells overlap, so their noise is correlated. A sum over many of them holds each pixel once, and has the noise
of that many pixels: what is summed or averaged over an area is to be reckoned with the noise of pixels.
"""


def luminance(mosaic: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the running mean over each 2 x 2 cell of a Bayer mosaic, on the same pixel grid.

    Each cell of the mosaic holds every colour once, whatever its order, so the result is free of the pattern.
    The last row and column repeat their neighbours.

    Parameters
    ----------
    mosaic : ndarray of float32, shape (ny, nx)

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Positions are those of the mosaic shifted by half a pixel: the cell starting at (x, y) is centred on
        (x + 0.5, y + 0.5).
    """
    cells = np.empty_like(mosaic)
    cells[:-1, :-1] = 0.25 * (mosaic[:-1, :-1] + mosaic[:-1, 1:] + mosaic[1:, :-1] + mosaic[1:, 1:])
    cells[-1, :] = cells[-2, :]
    cells[:, -1] = cells[:, -2]
    return cells
