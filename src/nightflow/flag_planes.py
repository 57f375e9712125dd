"""Which pixels of a flag plane carry some bits: in one pass, where numpy takes two and one more plane."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.flags import Flag
from nightflow.parallel import in_bands

__all__ = ["carrying", "count_carrying"]


def carrying(flags: NDArray[np.uint16], bits: Flag) -> NDArray[np.bool_]:
    """Return where any of the bits is set.

    Parameters
    ----------
    flags : ndarray of uint16, shape (ny, nx)
    bits : Flag
    """
    found = np.empty(flags.shape, bool)
    wanted = np.uint16(bits)
    in_bands(lambda start, stop: _mark(flags, wanted, found, start, stop), len(flags))
    return found


def count_carrying(flags: NDArray[np.uint16], bits: Flag) -> int:
    """Return how many pixels have any of the bits.

    Parameters
    ----------
    flags : ndarray of uint16, shape (ny, nx)
    bits : Flag
    """
    wanted = np.uint16(bits)
    return sum(in_bands(lambda start, stop: _count(flags, wanted, start, stop), len(flags)))


@numba.njit(nogil=True, cache=True)
def _mark(
    flags: NDArray[np.uint16], wanted: np.uint16, found: NDArray[np.bool_], start: int, stop: int
) -> None:
    for y in range(start, stop):
        for x in range(flags.shape[1]):
            found[y, x] = (flags[y, x] & wanted) != 0


@numba.njit(nogil=True, cache=True)
def _count(flags: NDArray[np.uint16], wanted: np.uint16, start: int, stop: int) -> int:
    count = 0
    for y in range(start, stop):
        for x in range(flags.shape[1]):
            count += (flags[y, x] & wanted) != 0
    return count
