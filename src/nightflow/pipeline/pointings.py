"""The last verified solution of each pointing, kept warm in the process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

__all__ = ["Pointings"]

_NEAR = 1.0
"""Degrees within which a solution is worth a try."""
_SAME = 0.1
"""Degrees within which two hints are one pointing."""


@dataclass(frozen=True)
class _Pointing:
    ra: float
    dec: float
    wcs: WCS

    def separation(self, ra: float, dec: float) -> float:
        """Degrees to a near position."""
        d_ra = (ra - self.ra + 180.0) % 360.0 - 180.0
        return float(np.hypot(d_ra * np.cos(np.radians(0.5 * (dec + self.dec))), dec - self.dec))


class Pointings:
    """Thread-safe memory of solutions, the newest of each camera and pointing.

    Parameters
    ----------
    capacity : int
        Solutions kept; the oldest is forgotten first.
    """

    def __init__(self, capacity: int = 32) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, int], _Pointing] = OrderedDict()
        self._count = 0

    def remember(self, instrument: str, detector: str, ra: float, dec: float, wcs: WCS) -> None:
        """Keep a verified solution under its frame's pointing hint, or its own place where there is none."""
        camera = (instrument, detector)
        with self._lock:
            same = [
                key
                for key, one in self._known.items()
                if key[:2] == camera and one.separation(ra, dec) < _SAME
            ]
            for key in same:
                del self._known[key]
            self._count += 1
            self._known[instrument, detector, self._count] = _Pointing(ra, dec, wcs)
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)

    def recall(self, instrument: str, detector: str, ra: float | None, dec: float | None) -> WCS | None:
        """Return the newest solution of this camera within a degree of a pointing hint, or None.

        Without a hint it is the camera's newest: most frames look where the one before did, and whoever
        starts from a solution must verify it anyway.
        """
        camera = (instrument, detector)
        with self._lock:
            near = (
                one.wcs
                for key, one in reversed(self._known.items())
                if key[:2] == camera and (ra is None or dec is None or one.separation(ra, dec) < _NEAR)
            )
            return next(near, None)
