"""TAN with PV cards, evaluated by hand: what the Lowell frames' headers hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.io import fits

__all__ = ["tpv"]


def tpv(header: fits.Header, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (ra, dec) in degrees of 0-based pixels by the TPV convention; the values may be text."""

    def value(key: str, absent: float = 0.0) -> float:
        return float(header.get(key, absent))

    dx, dy = x + 1 - value("CRPIX1"), y + 1 - value("CRPIX2")
    u = value("CD1_1") * dx + value("CD1_2") * dy
    v = value("CD2_1") * dx + value("CD2_2") * dy
    xi, eta = _polynomial(value, 1, u, v), _polynomial(value, 2, v, u)
    xi, eta = np.radians(xi), np.radians(eta)
    ra0, dec0 = np.radians(value("CRVAL1")), np.radians(value("CRVAL2"))
    below = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.arctan2(xi, below)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, below))
    return np.degrees(ra) % 360, np.degrees(dec)


def _polynomial(value: Callable[..., float], axis: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    r = np.hypot(a, b)
    terms = [1, a, b, r, a**2, a * b, b**2, a**3, a**2 * b, a * b**2, b**3, r**3]
    return sum(value(f"PV{axis}_{order}", float(order == 1)) * term for order, term in enumerate(terms))
