"""The loop over pixels of `nightflow.masters.combine`, compiled by numba."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.robust import MAD_TO_SIGMA

__all__ = ["combine_tile"]


_FEW = 64


@numba.njit(nogil=True, cache=True)
def _median_of_sorted(values: NDArray[np.float32]) -> np.float32:
    middle = values.size // 2
    if values.size % 2:
        return values[middle]
    return np.float32(0.5) * (values[middle - 1] + values[middle])


@numba.njit(nogil=True, cache=True)
def _sort(values: NDArray[np.float32]) -> None:
    """Sort in place; insertion is the fastest for the few frames of a stack."""
    if values.size > _FEW:
        values.sort()
        return
    for i in range(1, values.size):
        value = values[i]
        j = i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


@numba.njit(nogil=True, cache=True)
def _mad_of_sorted(values: NDArray[np.float32], center: np.float32) -> np.float32:
    """Return the median distance of ascending values from their median.

    The greatest distances stand at the two ends; walking inwards meets them in order, without another sort.
    """
    low, high = 0, values.size - 1
    last = previous = np.float32(0)
    for _ in range(values.size // 2 + 1):
        below, above = center - values[low], values[high] - center
        previous = last
        if below > above:
            last = below
            low += 1
        else:
            last = above
            high -= 1
    return last if values.size % 2 else np.float32(0.5) * (previous + last)


@numba.njit(nogil=True, cache=True)
def _mean_and_std(values: NDArray[np.float32], center: float, limit: float) -> tuple[float, float, int]:
    """Return mean, standard deviation (n - 1) and number of the values within ``limit`` of ``center``."""
    count = 0
    total = 0.0
    squares = 0.0
    for value in values:
        offset = value - center
        if abs(offset) <= limit:
            count += 1
            total += offset
            squares += offset * offset
    mean = total / count
    variance = (squares - count * mean * mean) / (count - 1) if count > 1 else 0.0
    return center + mean, np.sqrt(max(variance, 0.0)), count


@numba.njit(nogil=True, cache=True)
def combine_tile(
    stack: NDArray[np.float32],
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
    """
    n, rows, columns = stack.shape
    buffer = np.empty(n, np.float32)
    for y in range(rows):
        for x in range(columns):
            count = 0
            for i in range(n):
                value = stack[i, y, x]
                if np.isfinite(value):
                    buffer[count] = value
                    count += 1
            if count == 0:
                data[y, x] = np.nan
                scatter[y, x] = np.nan
                n_used[y, x] = 0
                continue
            values = buffer[:count]
            _sort(values)
            center = _median_of_sorted(values)
            spread = MAD_TO_SIGMA * _mad_of_sorted(values, center)
            if clip:
                data[y, x], scatter[y, x], n_used[y, x] = _mean_and_std(
                    values, center, sigma * max(spread, floor)
                )
            else:
                data[y, x], scatter[y, x], n_used[y, x] = center, spread, count
