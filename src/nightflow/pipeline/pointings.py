"""The last verified solution of each pointing, kept warm in the process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

__all__ = ["Pointings"]

_NEAR = 1.0
"""Degrees."""


@dataclass(frozen=True)
class _Pointing:
    ra: float
    dec: float
    wcs: WCS


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
        """Keep a verified solution of a frame whose pointing hint was (ra, dec)."""
        with self._lock:
            for key, pointing in list(self._known.items()):
                if key[:2] == (instrument, detector) and _separation(pointing.ra, pointing.dec, ra, dec) < 0.1:
                    del self._known[key]
            self._count += 1
            self._known[instrument, detector, self._count] = _Pointing(ra, dec, wcs)
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)

    def recall(self, instrument: str, detector: str, ra: float, dec: float) -> WCS | None:
        """Return the newest solution of this camera within a degree of a pointing hint, or None."""
        with self._lock:
            for key, pointing in reversed(self._known.items()):
                if key[:2] == (instrument, detector) and _separation(pointing.ra, pointing.dec, ra, dec) < _NEAR:
                    return pointing.wcs
        return None


def _separation(ra: float, dec: float, other_ra: float, other_dec: float) -> float:
    """Degrees between two near positions."""
    d_ra = (ra - other_ra + 180.0) % 360.0 - 180.0
    return float(np.hypot(d_ra * np.cos(np.radians(0.5 * (dec + other_dec))), dec - other_dec))
