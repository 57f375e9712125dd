"""The loop over pixels of `nightflow.detector.fused`, compiled by numba.

Every plane is read once and written once: the pass takes as long as the memory needs to deliver them.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.flags import Flag

__all__ = ["calibrate_rows", "flag_bleeds"]

_SATURATED, _NONE = np.uint16(Flag.SATURATED), np.uint16(0)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _faults(row: NDArray[np.float32], saturation: np.float32) -> tuple[int, int]:
    """Return how many pixels of a raw row are saturated, and how many are not finite."""
    saturated = odd = 0
    for x in range(row.size):
        saturated += 1 if row[x] >= saturation else 0
        odd += 0 if row[x] - row[x] == np.float32(0) else 1
    return saturated, odd


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _row_of(plane: NDArray[np.float32], y: int) -> NDArray[np.float32]:
    """Return a row of a plane, or the only one of what stands in for a plane that there is not."""
    return plane[y if plane.shape[0] > 1 else 0]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def calibrate_rows(
    raw: NDArray[np.float32],
    corner: tuple[int, int],
    levels: tuple[NDArray[np.float32], NDArray[np.float32]],
    planes: tuple[NDArray[np.float32], ...],
    master_flags: NDArray[np.uint16],
    numbers: NDArray[np.float32],
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    saturated_rows: NDArray[np.int32],
    start: int,
    stop: int,
) -> int:
    """Calibrate rows ``start`` to ``stop`` of the trimmed frame.

    Parameters
    ----------
    raw : ndarray of float32
        Raw counts, and the (row, column) of the first pixel that is kept.
    levels : tuple of ndarray
        Overscan level of each kept row, and of each kept column, ADU; one of them is all zero.
    planes : tuple of ndarray of float32
        Bias, dark, inverse response, its relative uncertainty, the variance of bias and dark; a single row
        stands in for what there is not.
    master_flags : ndarray of uint16
        Of bias, dark and flat together.
    numbers : ndarray of float32
        Pedestal, saturation, inverse gain, variance of the readout, scale of the dark, gain, its square.
    data, variance, flags : ndarray
        Output.
    saturated_rows : ndarray of int32
        Output: saturated pixels of each raw row.

    Returns
    -------
    int
        Pixels that are not finite, of whole raw rows.
    """
    pedestal, saturation, inverse_gain, readout, scale, gain, squared_gain = numbers
    zero = np.float32(0)
    row_level, column_level = levels
    n_odd = 0
    for y in range(start, stop):
        source = raw[y + corner[0]]
        saturated, odd = _faults(source, saturation)
        saturated_rows[y + corner[0]] = saturated
        n_odd += odd
        light = source[corner[1] :]
        bias, dark, inverse = _row_of(planes[0], y), _row_of(planes[1], y), _row_of(planes[2], y)
        flat_error, masters_variance = _row_of(planes[3], y), _row_of(planes[4], y)
        level = row_level[y]
        for x in range(data.shape[1]):
            counts = light[x] - level - column_level[x] - pedestal - bias[x]
            noise = max(counts, zero) * inverse_gain + readout + masters_variance[x]
            flat = (counts - scale * dark[x]) * inverse[x]
            error = flat * flat_error[x]
            data[y, x] = flat * gain
            variance[y, x] = (noise * inverse[x] * inverse[x] + error * error) * squared_gain
        for x in range(data.shape[1]):  # one by one: assigning the row takes seconds to compile
            flags[y, x] = master_flags[y, x]
        if saturated:
            for x in range(data.shape[1]):
                flags[y, x] |= _SATURATED if light[x] >= saturation else _NONE
    return n_odd


@numba.njit(nogil=True, cache=True)
def flag_bleeds(
    raw: NDArray[np.float32],
    saturation: float,
    saturated_rows: NDArray[np.int32],
    corner: tuple[int, int],
    reach: int,
    flags: NDArray[np.uint16],
) -> None:
    """Flag what `nightflow.detector.saturation.grow_bleed` adds, looking at rows with saturated pixels."""
    for y in range(1, raw.shape[0] - 1):
        if saturated_rows[y] == 0 or saturated_rows[y - 1] == 0 or saturated_rows[y + 1] == 0:
            continue
        for x in range(flags.shape[1]):
            column = x + corner[1]
            if raw[y, column] < saturation or raw[y - 1, column] < saturation:
                continue
            if raw[y + 1, column] < saturation:
                continue
            for row in range(y - reach - 1 - corner[0], y + reach + 2 - corner[0]):
                if 0 <= row < flags.shape[0]:
                    flags[row, x] |= _SATURATED
