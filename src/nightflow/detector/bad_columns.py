"""Find columns that differ from their neighbours, whole or in part.

The statistic is a column's median over a stretch of rows: hot pixels, cosmic rays and dust do not move it,
and it is far less noisy than a pixel. It is compared with the running median of the columns around, in units
of the scatter that such differences have there, so that a chip whose columns all differ a little has no bad
ones. Where a stretch is bad the column is followed up and down in shorter pieces to where it recovers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from nightflow.robust import MAD_TO_SIGMA

__all__ = ["BadColumn", "find_bad_columns"]

_STRETCHES = 16
"""Stretches that a column is looked at in, beside as a whole."""
_SHORTEST_STRETCH = 32
_MOST_ROWS = 1024
"""Rows of a stretch that are looked at."""
_MOST_PIECES = 0.8
"""Share of the pieces of a stretch that must be off for all of it to be bad."""
_SCATTER_WINDOW = 65
"""Columns. Amplifier glow makes those near it noisier than the rest."""
_NARROW = 7
"""Columns of the running median near the edges."""
_GATHERED, _THREADS = 16, 2
_PIECE = 8
"""Rows by which the ends of a bad stretch are found."""


@dataclass(frozen=True)
class BadColumn:
    """Part of a column.

    Attributes
    ----------
    column : int
        0-based.
    rows : slice
        0-based, half open.
    """

    column: int
    rows: slice


def find_bad_columns(
    data: NDArray[np.float32], usable: NDArray[np.bool_], *, sigma: float, window: int, least: float
) -> list[BadColumn]:
    """Find the bad columns of a master.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Structure that is wider than ``window``, and steps, are no bad columns.
    usable : ndarray of bool, shape (ny, nx)
        Pixels that count.
    sigma : float
        Limit in units of the scatter of the columns' medians.
    window : int
        Columns of the running median; made odd.
    least : float
        Differences of less, in units of ``data``, do no harm.

    Returns
    -------
    list of BadColumn
        Ordered by column; the parts of one column do not touch.
    """
    window |= 1
    if data.shape[1] < 2 * window or data.shape[0] < _PIECE:
        return []
    values = np.where(usable, data, np.float32(np.nan))
    bad = np.zeros(data.shape, bool)
    for edges in (_edges(len(data), 1), _edges(len(data), _STRETCHES)):
        for top, bottom in pairwise(edges):
            _mark(bad, values, slice(top, bottom), sigma, window, least)
    return [
        BadColumn(int(column), rows)
        for column in np.flatnonzero(bad.any(axis=0))
        for rows in _runs(bad[:, column])
    ]


def _edges(rows: int, stretches: int) -> list[int]:
    count = max(1, min(stretches, rows // _SHORTEST_STRETCH))
    return [round(edge) for edge in np.linspace(0, rows, count + 1)]


def _mark(
    bad: NDArray[np.bool_],
    values: NDArray[np.float32],
    rows: slice,
    sigma: float,
    window: int,
    least: float,
) -> None:
    """Mark the columns that are off in a stretch of rows, each from where to where it is."""
    medians = _medians(values[rows][:: max(1, (rows.stop - rows.start) // _MOST_ROWS)])
    off = _difference(medians, window)
    limit = np.maximum(sigma * _scatter(medians), least)
    for column in np.flatnonzero((np.abs(off) > limit) & ~bad[rows].all(axis=0)):
        sign, depth = np.sign(off[column]), np.abs(off[column]) / 2
        bad[_pieces(values, int(column), rows, window, sign, depth), column] = True


def _scatter(medians: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scatter of the columns around each, no less than that of all.

    From each column's difference to the mean of its two neighbours: a gradient does not count, and a column
    that is itself the running median, as most are on a slope, does not count for nothing.
    """
    bend = np.zeros_like(medians)
    bend[1:-1] = np.abs(medians[1:-1] - (medians[:-2] + medians[2:]) / 2)
    bend[[0, -1]] = bend[[1, -2]]
    around = median_filter(bend, min(_SCATTER_WINDOW, (len(bend) - 1) | 1), mode="reflect")
    scatter: NDArray[np.float32] = np.maximum(around, np.median(bend)) * np.float32(
        MAD_TO_SIGMA / np.sqrt(1.5)
    )
    return scatter


def _medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each column's median; what is typical where nothing is known."""
    medians = np.empty(values.shape[1], np.float32)
    edges = np.linspace(0, len(medians), _THREADS + 1).astype(int).tolist()
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda ends: _column_medians(values, medians, *ends), pairwise(edges)))
    known = np.isfinite(medians)
    medians[~known] = np.median(medians[known]) if known.any() else 0
    return medians


@numba.njit(nogil=True, cache=True)
def _column_medians(values: NDArray[np.float32], medians: NDArray[np.float32], start: int, stop: int) -> None:
    """Write the medians of columns; NaN where fewer than half a piece of one is known.

    Blocks of columns are gathered row by row, as they lie in memory.
    """
    rows = values.shape[0]
    gathered = np.empty((_GATHERED, rows), np.float32)
    for first in range(start, stop, _GATHERED):
        last = min(first + _GATHERED, stop)
        count = np.zeros(last - first, np.int64)
        for y in range(rows):
            for x in range(first, last):
                value = values[y, x]
                if np.isfinite(value):
                    gathered[x - first, count[x - first]] = value
                    count[x - first] += 1
        for n in range(last - first):
            known = count[n] >= _PIECE // 2
            medians[first + n] = np.median(gathered[n, : count[n]]) if known else np.float32(np.nan)


def _difference(medians: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Return each column's difference from the running median of the columns around.

    Or from those on its left or right alone, if they are nearer: next to a step, such as the border of two
    amplifiers, only one side is like the column.
    """
    off = medians - _running_median(medians, window)
    sides = np.lib.stride_tricks.sliding_window_view(medians, window)
    median = np.median(sides, axis=1)
    for beside in (np.s_[window:], np.s_[: len(off) - window]):
        other = medians[beside] - (median[:-1] if beside.start else median[1:])
        off[beside] = np.where(np.abs(other) < np.abs(off[beside]), other, off[beside])
    return off


def _running_median(medians: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Return the running median; where the edge cuts the window that of a narrower one, last a line."""
    smooth: NDArray[np.float32] = median_filter(medians, window, mode="nearest")
    narrow = min(window, _NARROW)
    nearer, half = median_filter(medians, narrow, mode="nearest"), window // 2
    smooth[:half], smooth[-half:] = nearer[:half], nearer[-half:]
    last = narrow // 2
    smooth[:last] = _robust_line(medians[:narrow])[:last]
    smooth[-last:] = _robust_line(medians[-narrow:])[-last:]
    return smooth


def _robust_line(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the line of the median slope between all pairs (Theil 1950, Sen 1968)."""
    x = np.arange(len(values), dtype=np.float32)
    one, other = np.triu_indices(len(values), 1)
    slope = np.median((values[other] - values[one]) / (x[other] - x[one]))
    line: NDArray[np.float32] = np.median(values - slope * x) + slope * x
    return line


def _pieces(
    values: NDArray[np.float32], column: int, rows: slice, window: int, sign: float, depth: float
) -> slice | NDArray[np.intp]:
    """Return the rows in which a column is off by ``depth``, from those in ``rows`` outwards.

    Where most of its pieces are off the others are too: eight rows are noisy.
    """
    off = _pieces_off(values, column, window, sign, depth)
    first = -(-rows.start // _PIECE)
    last = max(first, min(rows.stop // _PIECE, len(off)) - 1)
    while first > 0 and off[first - 1]:
        first -= 1
    while last + 1 < len(off) and off[last + 1]:
        last += 1
    stop = len(values) if last + 1 == len(off) else (last + 1) * _PIECE
    if off[first : last + 1].mean() >= _MOST_PIECES:
        return slice(first * _PIECE, stop)
    number = np.minimum(np.arange(first * _PIECE, stop) // _PIECE, len(off) - 1)
    return np.arange(first * _PIECE, stop)[off[number]]


def _pieces_off(
    values: NDArray[np.float32], column: int, window: int, sign: float, depth: float
) -> NDArray[np.bool_]:
    """Return for each piece of a column whether its median is off that of the columns around."""
    number, left = len(values) // _PIECE, max(0, column - window // 2)
    around = values[: number * _PIECE, left : column + window // 2 + 1]
    own = around[:, column - left].reshape(number, _PIECE)
    known = np.isfinite(own).any(axis=1)
    off = np.zeros(number, bool)
    rest = around.reshape(number, -1)[known]
    off[known] = sign * (np.nanmedian(own[known], axis=1) - np.nanmedian(rest, axis=1)) > depth
    return off


def _runs(bad: NDArray[np.bool_]) -> list[slice]:
    """Return the runs of True."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8)))
    return [slice(int(start), int(stop)) for start, stop in zip(steps[::2], steps[1::2], strict=True)]
