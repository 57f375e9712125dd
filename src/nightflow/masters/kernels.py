"""The loops over pixels of `nightflow.masters.combine`, compiled by numba.

A stack is sorted by a network of comparisons that is the same for every pixel: each comparison is done for a
block of pixels at once, which the processor does eight or sixteen at a time.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.robust import MAD_TO_SIGMA

__all__ = ["combine_tile", "merging_network", "sorting_network"]

_BLOCK = 256
"""Pixels at a time: 30 frames of them are 30 kB, which stay in the fastest cache."""

Network = NDArray[np.int32]
"""Pairs of places, shape (m, 2): the smaller value goes to the first."""


@lru_cache(maxsize=64)
def sorting_network(n: int) -> Network:
    """Return the comparisons that put ``n`` values into ascending order.

    Batcher's odd-even merge sort (Batcher 1968, Proc. AFIPS 32, 307) of the next power of two, without those
    that touch places beyond the last: infinities stand there, and stay.
    """
    size = 1 << max(0, n - 1).bit_length()
    pairs = [
        (low, low + step)
        for run in _powers_below(size)
        for step in _halves(run)
        for start in range(step % run, size - step, 2 * step)
        for low in range(start, min(start + step, size - step))
        if low // (2 * run) == (low + step) // (2 * run) and low + step < n
    ]
    return np.array(pairs, np.int32).reshape(-1, 2)


@lru_cache(maxsize=64)
def merging_network(n: int) -> Network:
    """Return the comparisons that sort ``n`` values which first fall, then rise (Batcher's bitonic merge)."""
    size = 1 << max(0, n - 1).bit_length()
    pairs = [
        (low, low + step)
        for step in _halves(size // 2)
        for low in range(size)
        if not low & step and low + step < n
    ]
    return np.array(pairs, np.int32).reshape(-1, 2)


def _powers_below(size: int) -> list[int]:
    """Return 1, 2, 4 ... below ``size``."""
    return [1 << exponent for exponent in range(max(0, size.bit_length() - 1))]


def _halves(size: int) -> list[int]:
    """Return ``size``, its half, its quarter ... down to 1."""
    return [1 << exponent for exponent in range(size.bit_length() - 1, -1, -1)]


@numba.njit(nogil=True, cache=True)
def _load(
    stack: NDArray[np.float32], y: int, x: int, values: NDArray[np.float32], count: NDArray[np.int32]
) -> None:
    """Copy a block of a row; what is not finite becomes infinite, and is not counted."""
    width = values.shape[1]
    count[:] = 0
    for i in range(stack.shape[0]):
        for k in range(width):
            value = stack[i, y, x + k]
            finite = value - value == np.float32(0)
            values[i, k] = value if finite else np.float32(np.inf)
            count[k] += 1 if finite else 0


@numba.njit(nogil=True, cache=True)
def _compare(values: NDArray[np.float32], network: Network) -> None:
    for number in range(network.shape[0]):
        low, high = values[network[number, 0]], values[network[number, 1]]
        for k in range(low.size):
            one, other = low[k], high[k]
            low[k] = one if one < other else other
            high[k] = other if one < other else one


@numba.njit(nogil=True, cache=True)
def _medians(values: NDArray[np.float32], count: NDArray[np.int32], out: NDArray[np.float32]) -> None:
    """Write the median of the finite ones of ascending values; NaN where there are none."""
    for k in range(out.size):
        n = count[k]
        middle = n // 2
        if n == 0:
            out[k] = np.nan
        elif n % 2:
            out[k] = values[middle, k]
        else:
            out[k] = np.float32(0.5) * (values[middle - 1, k] + values[middle, k])


@numba.njit(nogil=True, cache=True)
def _distances(values: NDArray[np.float32], center: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    for i in range(values.shape[0]):
        for k in range(center.size):
            out[i, k] = abs(values[i, k] - center[k])


@numba.njit(nogil=True, cache=True)
def _clipped(
    values: NDArray[np.float32],
    center: NDArray[np.float32],
    limit: NDArray[np.float64],
    sums: NDArray[np.float64],
    kept: NDArray[np.int32],
) -> None:
    """Add up the distances from ``center``, and their squares, of the values within ``limit`` of it."""
    sums[:] = 0.0
    kept[:] = 0
    for i in range(values.shape[0]):
        for k in range(center.size):
            offset = np.float64(values[i, k]) - np.float64(center[k])
            inside = abs(offset) <= limit[k]
            offset = offset if inside else np.float64(0)
            sums[0, k] += offset
            sums[1, k] += offset * offset
            kept[k] += 1 if inside else 0


@numba.njit(nogil=True, cache=True)
def _write_clipped(
    center: NDArray[np.float32],
    sums: NDArray[np.float64],
    kept: NDArray[np.int32],
    data: NDArray[np.float32],
    scatter: NDArray[np.float32],
    n_used: NDArray[np.uint16],
) -> None:
    for k in range(center.size):
        n = kept[k]
        n_used[k] = n
        if n == 0:
            data[k] = scatter[k] = np.nan
            continue
        mean = sums[0, k] / n
        variance = (sums[1, k] - n * mean * mean) / (n - 1) if n > 1 else 0.0
        data[k] = center[k] + mean
        scatter[k] = np.sqrt(max(variance, 0.0))


@numba.njit(nogil=True, cache=True)
def combine_tile(
    stack: NDArray[np.float32],
    networks: tuple[Network, Network],
    sigma: float,
    floor: float,
    clip: bool,
    data: NDArray[np.float32],
    scatter: NDArray[np.float32],
    n_used: NDArray[np.uint16],
) -> None:
    """Combine a stack (n, rows, columns) into the three output planes (rows, columns).

    With ``clip``: the mean of the values within ``sigma`` times max(1.4826 MAD, ``floor``) of the median, and
    their standard deviation. Without: the median and 1.4826 MAD. NaN and infinite values do not count.
    ``networks`` are the sorting and the merging one of n values.
    """
    n, rows, columns = stack.shape
    for y in range(rows):
        for x in range(0, columns, _BLOCK):
            width = min(_BLOCK, columns - x)
            values, distances = np.empty((n, width), np.float32), np.empty((n, width), np.float32)
            count, center = np.empty(width, np.int32), np.empty(width, np.float32)
            spread = np.empty(width, np.float32)
            _load(stack, y, x, values, count)
            _compare(values, networks[0])
            _medians(values, count, center)
            # Of ascending values the distances from the median fall, then rise.
            _distances(values, center, distances)
            _compare(distances, networks[1])
            _medians(distances, count, spread)
            if clip:
                here = slice(x, x + width)
                limit = sigma * np.maximum(MAD_TO_SIGMA * spread.astype(np.float64), floor)
                sums, kept = np.empty((2, width)), np.empty(width, np.int32)
                _clipped(values, center, limit, sums, kept)
                _write_clipped(center, sums, kept, data[y, here], scatter[y, here], n_used[y, here])
            else:
                # one by one: slices that are assigned to slices take seconds to compile
                for k in range(width):
                    data[y, x + k] = center[k]
                    scatter[y, x + k] = MAD_TO_SIGMA * spread[k]
                    n_used[y, x + k] = count[k]
