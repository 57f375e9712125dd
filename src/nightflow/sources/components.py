"""Runs of pixels that touch each other, corners included."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["connected", "n_peaks", "paint", "rename"]


@numba.njit(nogil=True, cache=True)
def connected(runs: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Return the component of each run, and how many there are.

    Components are counted from 0 in the order in which their last runs come: as `sep.extract` counts them.

    Parameters
    ----------
    runs : ndarray of int32, shape (n, 3)
        Row, first column and the one after the last, in the order of rows and columns.
    """
    parent = np.arange(len(runs), dtype=np.int32)
    above = 0
    for run in range(len(runs)):
        row, first, stop = runs[run]
        # What lies in the row before and ends left of this run touches none that follows either.
        while above < run and (
            runs[above, 0] < row - 1 or (runs[above, 0] == row - 1 and runs[above, 2] < first)
        ):
            above += 1
        other = above
        while other < run and runs[other, 0] == row - 1 and runs[other, 1] <= stop:
            _join(parent, run, other)
            other += 1
    names = np.full(len(runs), -1, np.int32)
    found = np.empty(len(runs), np.int32)
    count = 0
    # A root is the last run of its component.
    for run in range(len(runs)):
        if parent[run] == run:
            names[run] = count
            count += 1
    for run in range(len(runs)):
        found[run] = names[_root(parent, run)]
    return found, count


@numba.njit(nogil=True, cache=True)
def _root(parent: NDArray[np.int32], run: int) -> int:
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@numba.njit(nogil=True, cache=True)
def _join(parent: NDArray[np.int32], one: int, other: int) -> None:
    one, other = _root(parent, one), _root(parent, other)
    parent[min(one, other)] = max(one, other)


@numba.njit(nogil=True, cache=True)
def paint(
    runs: NDArray[np.int32], component: NDArray[np.int32], value: NDArray[Any], plane: NDArray[Any]
) -> None:
    """Write the value of its component to each pixel of each run."""
    for run in range(len(runs)):
        row, first, stop = runs[run]
        plane[row, first:stop] = value[component[run]]


@numba.njit(nogil=True, cache=True)
def rename(
    runs: NDArray[np.int32], names: NDArray[np.int32], old: NDArray[np.int32], new: NDArray[np.int32]
) -> None:
    """Write to each pixel of each run in ``new`` what ``names`` has for its number in ``old``."""
    for run in range(len(runs)):
        row, first, stop = runs[run]
        for column in range(first, stop):
            new[row, column] = names[old[row, column]]


@numba.njit(nogil=True, cache=True)
def n_peaks(
    smooth: NDArray[np.float32],
    inside: NDArray[np.int32],
    runs: NDArray[np.int32],
    component: NDArray[np.int32],
    count: int,
) -> NDArray[np.int32]:
    """Return how many pixels of each component are as high as all of it around them.

    Parameters
    ----------
    smooth : ndarray of float32, shape (ny, nx)
    inside : ndarray of int32, shape (ny, nx)
        Not 0 on all components that count.
    runs, component : ndarray of int32
    count : int
        Of components.
    """
    ny, nx = smooth.shape
    peaks = np.zeros(count, np.int32)
    for run in range(len(runs)):
        row, first, stop = runs[run]
        for x in range(first, stop):
            highest = True
            for other_row in range(max(row - 1, 0), min(row + 2, ny)):
                for column in range(max(x - 1, 0), min(x + 2, nx)):
                    if smooth[other_row, column] > smooth[row, x] and inside[other_row, column] != 0:
                        highest = False
            if highest:
                peaks[component[run]] += 1
    return peaks
