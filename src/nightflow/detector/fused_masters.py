"""What the fused pass needs of the masters, worked out once for all frames that they calibrate."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.flags import FLAG_DTYPE, Flag

__all__ = ["PreparedCache", "PreparedMasters", "prepare_masters"]

Plane = NDArray[np.float32]

_MOST_BYTES = 2**30
"""Of prepared planes that are kept: those of four sets of masters of 4096 x 4096 pixels."""


@dataclass(frozen=True)
class PreparedMasters:
    """Planes that follow from a master bias, dark and flat; a single row stands in for a constant.

    Attributes
    ----------
    inverse : ndarray of float32
        One over the response; 1 where that is not above zero.
    flat_error : ndarray of float32
        Relative uncertainty of the response.
    variance : ndarray of float32
        Of bias and scaled dark, ADU^2.
    flags : ndarray of uint16, shape (ny, nx)
        Those of all three, and DEAD and BAD for a response out of bounds.
    n_dead, n_bad : int
        Pixels with a response below and above the bounds.
    """

    inverse: Plane
    flat_error: Plane
    variance: Plane
    flags: NDArray[np.uint16]
    n_dead: int
    n_bad: int

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(plane.nbytes for plane in (self.inverse, self.flat_error, self.variance, self.flags))


def prepare_masters(
    used: MasterSet, scale: float, bias_share: float, low: float, high: float
) -> PreparedMasters:
    """Work out the planes.

    Parameters
    ----------
    used : MasterSet
        The bias, and dark and flat where they are applied.
    scale : float
        Factor of the dark.
    bias_share : float
        Share of the bias's variance that stays; see `nightflow.detector.choices.bias_share`.
    low, high : float
        Bounds of a usable response.
    """
    assert used.bias is not None
    flags = used.bias.flags.astype(FLAG_DTYPE)
    variance = np.float32(bias_share) * np.square(used.bias.uncertainty, dtype=np.float32)
    if used.dark is not None:
        flags |= used.dark.flags
        variance += np.square(np.float32(scale) * used.dark.uncertainty, dtype=np.float32)
    width = flags.shape[1]
    if used.flat is None:
        return PreparedMasters(_row(width, 1), _row(width, 0), variance, flags, 0, 0)
    flags |= used.flat.flags
    response = used.flat.data
    dead, bad = response < low, response > high
    flags[dead] |= FLAG_DTYPE(Flag.DEAD)
    flags[bad] |= FLAG_DTYPE(Flag.BAD)
    inverse = np.reciprocal(np.where(response > 0, response, np.float32(1)), dtype=np.float32)
    flat_error = np.multiply(inverse, used.flat.uncertainty, dtype=np.float32)
    return PreparedMasters(
        inverse, flat_error, variance, flags, int(np.count_nonzero(dead)), int(np.count_nonzero(bad))
    )


def _row(width: int, value: float) -> Plane:
    return np.full((1, width), value, np.float32)


class PreparedCache:
    """Prepared planes by the identity of the masters' own, as long as those live; safe for threads.

    Parameters
    ----------
    most_bytes : int
        Bound on the planes that are kept beside the latest; what was asked for least recently goes first.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[tuple[weakref.ref[Any], ...], PreparedMasters]] = (
            OrderedDict()
        )

    def __len__(self) -> int:
        """Return how many sets of masters are known."""
        return len(self._kept)

    def get(
        self, used: MasterSet, scale: float, bias_share: float, low: float, high: float
    ) -> PreparedMasters:
        """Return what `prepare_masters` returns; the same masters are prepared once, others wait for it."""
        planes = _planes(used)
        key = (scale, bias_share, low, high, used.dark is None, used.flat is None, *map(id, planes))
        with self._lock:
            known = self._kept.pop(key, None)
            # A number that was a plane's may have become another's.
            if known is None or any(ref() is not plane for ref, plane in zip(known[0], planes, strict=True)):
                known = tuple(map(weakref.ref, planes)), prepare_masters(used, scale, bias_share, low, high)
            self._kept[key] = known
            self._make_room()
            return known[1]

    def _make_room(self) -> None:
        """Forget planes whose masters are gone, and the oldest of the others beyond the bound."""
        gone = [key for key, (refs, _) in self._kept.items() if any(ref() is None for ref in refs)]
        for key in gone:
            del self._kept[key]
        while len(self._kept) > 1 and sum(one.nbytes for _, one in self._kept.values()) > self._most_bytes:
            self._kept.popitem(last=False)


def _planes(used: MasterSet) -> list[NDArray[Any]]:
    """Return the masters' own planes, by which they are known again."""
    masters: list[MasterFrame | None] = [used.bias, used.dark, used.flat]
    return [
        plane
        for master in masters
        if master is not None
        for plane in (master.data, master.uncertainty, master.flags)
    ]
