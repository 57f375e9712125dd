"""The loop over pixels of `nightflow.masters.combine`, compiled by numba."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.robust import MAD_TO_SIGMA

__all__ = ["combine_tile"]


@numba.njit(nogil=True, cache=True)
def _median_of_sorted(values: NDArray[np.float32]) -> np.float32:
    middle = values.size // 2
    if values.size % 2:
        return values[middle]
    return np.float32(0.5) * (values[middle - 1] + values[middle])


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
    deviation_buffer = np.empty(n, np.float32)
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
            values.sort()
            center = _median_of_sorted(values)
            deviations = deviation_buffer[:count]
            for i in range(count):
                deviations[i] = abs(values[i] - center)
            deviations.sort()
            spread = MAD_TO_SIGMA * _median_of_sorted(deviations)
            if clip:
                data[y, x], scatter[y, x], n_used[y, x] = _mean_and_std(
                    values, center, sigma * max(spread, floor)
                )
            else:
                data[y, x], scatter[y, x], n_used[y, x] = center, spread, count
