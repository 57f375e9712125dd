"""The level and the scatter of the pixels around each pixel, on a mesh that outliers do not move."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.robust import MAD_TO_SIGMA

__all__ = ["Surroundings", "measure_surroundings"]

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
        Standard deviation of the pixels about that level, by the median absolute deviation.
    """

    level: NDArray[np.float32]
    scatter: NDArray[np.float32]


def measure_surroundings(
    data: NDArray[np.float32], usable: NDArray[np.bool_], cell: int = 32, samples: int = 1024
) -> Surroundings:
    """Measure level and scatter in cells of about ``cell`` pixels.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    usable : ndarray of bool, shape (ny, nx)
        Pixels that count. Cells without any take what is typical of the others.
    cell : int
        Pixels. Structure that is wider than two cells is followed.
    samples : int
        Pixels of one cell that are looked at; with 1024 its median is good to 4 % of the scatter.
    """
    rows, columns = (_edges(length, cell) for length in data.shape)
    level = _medians(data, None, usable, rows, columns, samples)
    known = np.isfinite(level)
    if not known.any():
        return Surroundings(np.zeros_like(data), np.zeros_like(data))
    level[~known] = np.median(level[known])
    # Beyond the outer centres the level goes on straight.
    plane = _interpolated(level, rows, columns)
    scatter = np.float32(MAD_TO_SIGMA) * _medians(data, plane, usable, rows, columns, samples)
    typical = np.median(scatter[known])
    scatter[~known] = typical
    spread = _interpolated(scatter, rows, columns)
    np.maximum(spread, np.float32(_LEAST_SCATTER) * typical, out=spread)
    return Surroundings(plane, spread)


def _edges(length: int, cell: int) -> NDArray[np.int64]:
    return np.rint(np.linspace(0, length, max(1, round(length / cell)) + 1)).astype(np.int64)


def _interpolated(
    mesh: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the plane that is linear between the centres of the mesh's cells."""
    plane = np.empty((int(rows[-1]), int(columns[-1])), np.float32)
    _interpolate(mesh, *_neighbours(rows), *_neighbours(columns), plane)
    return plane


def _neighbours(edges: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return for each pixel the cell before it, and the weight of the one after that."""
    pixels = np.arange(int(edges[-1]))
    centers = (edges[:-1] + edges[1:] - 1) / 2
    if len(centers) == 1:
        return np.zeros(len(pixels), np.int64), np.zeros(len(pixels), np.float32)
    before = np.clip(np.searchsorted(centers, pixels) - 1, 0, len(centers) - 2)
    share = (pixels - centers[before]) / (centers[before + 1] - centers[before])
    return before, share.astype(np.float32)


@numba.njit(nogil=True, cache=True)
def _interpolate(
    mesh: NDArray[np.float32],
    row: NDArray[np.int64],
    row_share: NDArray[np.float32],
    column: NDArray[np.int64],
    column_share: NDArray[np.float32],
    plane: NDArray[np.float32],
) -> None:
    last_row, last_column = mesh.shape[0] - 1, mesh.shape[1] - 1
    one = np.float32(1)
    line = np.empty(mesh.shape[1], np.float32)
    for y in range(plane.shape[0]):
        above = mesh[min(row[y] + 1, last_row)]
        for cell in range(line.size):
            line[cell] = (one - row_share[y]) * mesh[row[y], cell] + row_share[y] * above[cell]
        for x in range(plane.shape[1]):
            left = column[x]
            right = min(left + 1, last_column)
            plane[y, x] = (one - column_share[x]) * line[left] + column_share[x] * line[right]


def _medians(
    data: NDArray[np.float32],
    plane: NDArray[np.float32] | None,
    usable: NDArray[np.bool_],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    samples: int,
) -> NDArray[np.float32]:
    """Return the median of each cell, of the distances from ``plane`` where one is given; NaN of nothing."""
    medians = np.full((len(rows) - 1, len(columns) - 1), np.nan, np.float32)

    def work(row: int) -> None:
        _row_of_medians(
            data,
            data if plane is None else plane,
            plane is not None,
            usable,
            rows[row : row + 2],
            columns,
            samples,
            medians[row],
        )

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, range(len(medians))))
    return medians


@numba.njit(nogil=True, cache=True)
def _row_of_medians(
    data: NDArray[np.float32],
    plane: NDArray[np.float32],
    distances: bool,
    usable: NDArray[np.bool_],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    most: int,
    medians: NDArray[np.float32],
) -> None:
    """Write the medians of one row of cells; what no usable pixel tells stays as it is."""
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
                values[count] = abs(data[y, x] - plane[y, x]) if distances else data[y, x]
                count += 1
        if count:
            medians[cell] = np.median(values[:count])
