"""The numbers of sources: they follow from the content of the first detection, not from the order of arrival.

The same frames give the same numbers in every store, whichever lands first, as long as `finish` has looked at
the night. They have 53 bits, so that programs that know floating point only can hold them.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["free_names", "names"]

_BITS = 53
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def names(sha256: str, detector: str, numbers: NDArray[np.integer], trial: int = 0) -> NDArray[np.int64]:
    """Return the number that each detection of a frame gives to a source, positive.

    Parameters
    ----------
    sha256 : str
        Of the file.
    detector : str
        Which chip of it.
    numbers : ndarray of int, shape (n,)
        Detection numbers on the frame.
    trial : int
        Another one gives other numbers, for those that are taken.
    """
    frame = hashlib.blake2b(f"{sha256}/{detector}/{trial}".encode(), digest_size=8).digest()
    with np.errstate(over="ignore"):
        mixed = np.uint64(int.from_bytes(frame, "big")) + (numbers.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        # The finaliser of splitmix64 (Steele, Lea & Flood 2014): neighbours become unlike.
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(64 - _BITS)
    return np.maximum(mixed, np.uint64(1)).astype(np.int64)


def free_names(
    sha256: str, detector: str, numbers: NDArray[np.integer], taken: frozenset[int] | set[int]
) -> NDArray[np.int64]:
    """Return `names`, with further trials for those that are taken or come twice."""
    found = names(sha256, detector, numbers)
    used = set(taken)
    for row, number in enumerate(numbers):
        trial = 0
        while int(found[row]) in used:
            trial += 1
            found[row] = names(sha256, detector, np.array([number]), trial)[0]
        used.add(int(found[row]))
    return found
