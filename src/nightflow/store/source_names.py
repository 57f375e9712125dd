"""The numbers of sources: they follow from the content of the first detection, not from the order of arrival.

The same frames of a night give the same numbers in every store, whichever lands first, once `finish` has
looked at the night. They have 53 bits, so that programs that know floating point only can hold them.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["free_names", "names"]

_FRAME_BITS = 33
_NUMBER_BITS = 20


def names(sha256: str, detector: str, numbers: NDArray[np.integer], trial: int = 0) -> NDArray[np.int64]:
    """Return the number that each detection of a frame gives to a source, positive.

    The upper bits are the frame's, so that the sources of a field, most of which its first frame names, lie
    side by side in the table.

    Parameters
    ----------
    sha256 : str
        Of the file.
    detector : str
        Which chip of it.
    numbers : ndarray of int, shape (n,)
        Detection numbers on the frame, below 2^20.
    trial : int
        Another one gives other numbers, for those that are taken.

    Raises
    ------
    ValueError
        A detection number is too large.
    """
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < 1 << _NUMBER_BITS:
        raise ValueError(
            f"detections {numbers.min()} to {numbers.max()} of {sha256[:12]}, detector {detector!r}: their "
            f"numbers must lie between 0 and {(1 << _NUMBER_BITS) - 1}"
        )
    digest = hashlib.blake2b(f"{sha256}/{detector}/{trial}".encode(), digest_size=8).digest()
    frame = int.from_bytes(digest, "big") >> (64 - _FRAME_BITS)
    # 0 means no source.
    return np.asarray((max(frame, 1) << _NUMBER_BITS) + numbers.astype(np.int64), np.int64)


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
