"""The level and the scatter of the pixels around each pixel, on a mesh that outliers do not move."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.robust import MAD_TO_SIGMA

__all__ = ["Surroundings", "measure_surroundings"]

_MOST_SAMPLES = 1024
"""Pixels of one cell that are looked at: its median is then good to 4 % of the scatter."""
_THREADS = 2
_LEAST_SCATTER = 0.5
"""Of the typical one: a cell whose pixels happen to agree must not make its neighbours stand out."""


@dataclass(frozen=True)
class Surroundings:
    """What is typical around each pixel.

    Attributes
    ----------
    level : ndarray of float32, shape (ny, nx)
        Median, interpolated linearly between the cells' centres.
    scatter : ndarray of float32, shape (ny, nx)
        Standard deviation of the pixels about it, by the median absolute deviation.
    """

    level: NDArray[np.float32]
    scatter: NDArray[np.float32]


def measure_surroundings(
    data: NDArray[np.float32], usable: NDArray[np.bool_], cell: int = 32
) -> Surroundings:
    """Measure level and scatter in cells of about ``cell`` pixels.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    usable : ndarray of bool, shape (ny, nx)
        Pixels that count. Cells without any take what is typical of the others.
    cell : int
        Pixels. Structure that is wider than two cells is followed.
    """
    rows, columns = (_edges(length, cell) for length in data.shape)
    level, scatter = _mesh(data, usable, rows, columns)
    known = np.isfinite(level)
    if not known.any():
        return Surroundings(np.zeros_like(data), np.zeros_like(data))
    level[~known] = np.median(level[known])
    typical = np.median(scatter[known])
    scatter[~known] = typical
    np.maximum(scatter, _LEAST_SCATTER * typical, out=scatter)
    across_y, across_x = _weights(rows), _weights(columns)
    plane = (across_y @ level @ across_x.T).astype(np.float32, copy=False)
    # Beyond the outer centres the level goes on straight; a scatter must not fall below zero there.
    spread = (across_y @ scatter @ across_x.T).astype(np.float32, copy=False)
    np.maximum(spread, np.float32(_LEAST_SCATTER * typical), out=spread)
    return Surroundings(plane, spread)


def _edges(length: int, cell: int) -> NDArray[np.int64]:
    return np.rint(np.linspace(0, length, max(1, round(length / cell)) + 1)).astype(np.int64)


def _weights(edges: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (pixels, cells): what each cell weighs at each pixel."""
    length, cells = int(edges[-1]), len(edges) - 1
    weights = np.zeros((length, cells), np.float32)
    if cells == 1:
        weights[:] = 1
        return weights
    centers = (edges[:-1] + edges[1:] - 1) / 2
    pixels = np.arange(length)
    left = np.clip(np.searchsorted(centers, pixels) - 1, 0, cells - 2)
    share = (pixels - centers[left]) / (centers[left + 1] - centers[left])
    weights[pixels, left] = 1 - share
    weights[pixels, left + 1] = share
    return weights


def _mesh(
    data: NDArray[np.float32],
    usable: NDArray[np.bool_],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return median and scatter of each cell; NaN where it has no usable pixel."""
    shape = (len(rows) - 1, len(columns) - 1)
    level, scatter = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)

    def work(row: int) -> None:
        _measure_row(data, usable, rows[row : row + 2], columns, _MOST_SAMPLES, level[row], scatter[row])

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, range(shape[0])))
    return level, scatter


@numba.njit(nogil=True, cache=True)
def _measure_row(
    data: NDArray[np.float32],
    usable: NDArray[np.bool_],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    most: int,
    level: NDArray[np.float32],
    scatter: NDArray[np.float32],
) -> None:
    """Write median and scatter of one row of cells; what no usable pixel tells stays as it is."""
    for cell in range(columns.size - 1):
        width = columns[cell + 1] - columns[cell]
        size = (rows[1] - rows[0]) * width
        step = max(1, size // most)
        # A step that shares a factor with the width would look at few columns only.
        while step > 1 and width % step == 0:
            step += 1
        values = np.empty(size // step + 1, np.float32)
        count = 0
        for k in range(0, size, step):
            y, x = rows[0] + k // width, columns[cell] + k % width
            if usable[y, x]:
                values[count] = data[y, x]
                count += 1
        if count:
            middle = np.median(values[:count])
            level[cell] = middle
            scatter[cell] = np.float32(MAD_TO_SIGMA) * np.median(np.abs(values[:count] - middle))
