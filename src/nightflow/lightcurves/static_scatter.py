"""How far the places of stars that do not move scatter, by brightness: the yardstick for those that do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.robust import MAD_TO_SIGMA

__all__ = ["StaticScatter", "axis_scatter", "static_scatter"]

_BIN = 1.0
"""Magnitudes."""
_ENOUGH = 15
"""Stars in a bin."""
_FLOOR = 0.01
"""Arcsec; nothing on the ground is better."""


@dataclass(frozen=True, kw_only=True)
class StaticScatter:
    """Scatter of places along each axis.

    Attributes
    ----------
    mag : ndarray of float64, shape (n_bins,)
        Instrumental magnitude, ascending; may be empty.
    sigma : ndarray of float64, shape (n_bins,)
        Arcsec.
    fallback : float
        Arcsec, where there is no bin.
    """

    mag: NDArray[np.float64]
    sigma: NDArray[np.float64]
    fallback: float

    def at(self, mag: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scatter at these magnitudes, arcsec; the nearest bin's outside of them."""
        known = np.nan_to_num(np.asarray(mag, np.float64), nan=99.0)
        return np.interp(known, self.mag, self.sigma) if len(self.mag) else np.full(len(known), self.fallback)

    def widened(self, floor: float) -> StaticScatter:
        """Return the scatter with a further error of ``floor`` arcsec in every place."""
        fallback = float(np.hypot(self.fallback, floor))
        return replace(self, sigma=np.hypot(self.sigma, floor), fallback=fallback)


def static_scatter(mag: NDArray[np.float64], scatter: NDArray[np.float64], fallback: float) -> StaticScatter:
    """Return the median scatter of stars in bins of a magnitude.

    Parameters
    ----------
    mag : ndarray of float64, shape (n_stars,)
        Median instrumental magnitude of each.
    scatter : ndarray of float64, shape (n_stars,)
        Of its places along each axis, arcsec, see `nightflow.robust.MAD_TO_SIGMA`.
    fallback : float
        Arcsec, where there are too few stars for a bin.
    """
    good = np.isfinite(mag) & np.isfinite(scatter)
    mag, scatter = mag[good], scatter[good]
    if len(mag) < _ENOUGH:
        typical = float(np.median(scatter)) if len(mag) >= 3 else fallback
        return StaticScatter(mag=np.empty(0), sigma=np.empty(0), fallback=max(typical, _FLOOR))
    order = np.argsort(mag, kind="stable")
    # Bins of a magnitude, but never of fewer stars than make a median.
    edges = [0]
    for row in range(1, len(order)):
        wide = mag[order[row]] - mag[order[edges[-1]]] >= _BIN
        if wide and row - edges[-1] >= _ENOUGH and len(order) - row >= _ENOUGH:
            edges.append(row)
    parts = np.split(order, edges[1:])
    return StaticScatter(
        mag=np.array([np.median(mag[part]) for part in parts]),
        sigma=np.array([max(float(np.median(scatter[part])), _FLOOR) for part in parts]),
        fallback=fallback,
    )


def axis_scatter(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the robust scatter of places along each axis, mean of the two."""
    spreads = [MAD_TO_SIGMA * float(np.median(np.abs(one - np.median(one)))) for one in (x, y)]
    return float(np.hypot(spreads[0], spreads[1]) / np.sqrt(2.0))
