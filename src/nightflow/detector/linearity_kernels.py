"""The loops over pixels of `nightflow.detector.linearity`, compiled by numba."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["by_polynomial", "by_table"]

Line = NDArray[np.float32]


@numba.njit(nogil=True, cache=True)
def by_polynomial(
    measured: Line, coefficients: NDArray[np.float64], maximum: float, counts: Line, slope: Line
) -> None:
    """Write true counts and slope of a m + b m^2 + ...; straight on below 0 and above ``maximum``."""
    for i in range(measured.size):
        inside = min(max(np.float64(measured[i]), 0.0), maximum)
        value, rise = 0.0, 0.0
        for coefficient in coefficients[::-1]:
            rise = rise * inside + value
            value = value * inside + coefficient
        # value is now a + b m + c m^2 ..., of which the counts are m times, and rise its derivative.
        rise = rise * inside + value
        counts[i] = value * inside + rise * (measured[i] - inside)
        slope[i] = rise


@numba.njit(nogil=True, cache=True)
def by_table(
    measured: Line, nodes: NDArray[np.float64], true: NDArray[np.float64], counts: Line, slope: Line
) -> None:
    """Write true counts and slope by straight lines between nodes; the first and the last go on."""
    piece, last = 0, nodes.size - 2
    for i in range(measured.size):
        value = np.float64(measured[i])
        while piece < last and value >= nodes[piece + 1]:  # the pixel before is a good guess
            piece += 1
        while piece > 0 and value < nodes[piece]:
            piece -= 1
        rise = (true[piece + 1] - true[piece]) / (nodes[piece + 1] - nodes[piece])
        counts[i] = true[piece] + rise * (value - nodes[piece])
        slope[i] = rise
