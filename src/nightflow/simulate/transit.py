"""The light curve of a planet crossing a limb-darkened star.

The star's disc is cut into rings; each ring loses the arc that the planet covers. With quadratic limb
darkening this is the integral of Mandel & Agol (2002, ApJ 580, L171), done numerically.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Transit", "occulted_flux", "radius_ratio_for_depth"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def occulted_flux(separation: Array, radius_ratio: float, u1: float, u2: float) -> Array:
    """Return the relative flux of a star behind a planet.

    Parameters
    ----------
    separation : ndarray, shape (n,)
        Distance of the centres in stellar radii.
    radius_ratio : float
        Planet to star, below 1.
    u1, u2 : float
        Quadratic limb darkening, I(mu) = 1 - u1 (1 - mu) - u2 (1 - mu)^2.

    Returns
    -------
    ndarray, shape (n,)
        1 outside of transit.
    """
    z = np.abs(np.asarray(separation, dtype=float)).reshape(-1, 1)
    total = np.pi * (1.0 - u1 / 3.0 - u2 / 6.0)
    covered = _partly_covered(z, radius_ratio, u1, u2) + _fully_covered(z, radius_ratio, u1, u2)
    return np.asarray(1.0 - covered / total)


def _intensity(r: Array, u1: float, u2: float) -> Array:
    mu = np.sqrt(np.clip(1.0 - r**2, 0.0, None))
    return np.asarray(1.0 - u1 * (1.0 - mu) - u2 * (1.0 - mu) ** 2)


def _partly_covered(z: Array, k: float, u1: float, u2: float) -> Array:
    low = np.minimum(np.abs(z - k), 1.0)
    high = np.minimum(z + k, 1.0)
    # r = mid - half cos(phi) clusters the nodes where the arc's length goes like a square root.
    phi = np.pi / 2 * (_NODES + 1.0)
    half = (high - low) / 2
    r = (low + high) / 2 - half * np.cos(phi)
    cosine = (r**2 + z**2 - k**2) / np.maximum(2.0 * r * z, 1e-300)
    arc = 2.0 * np.arccos(np.clip(cosine, -1.0, 1.0))
    integrand = _intensity(r, u1, u2) * r * arc * half * np.sin(phi)
    return np.asarray(integrand @ _WEIGHTS * np.pi / 2)


def _fully_covered(z: Array, k: float, u1: float, u2: float) -> Array:
    radius = np.clip(k - z, 0.0, 1.0)
    r = radius / 2 * (_NODES + 1.0)
    return np.asarray((_intensity(r, u1, u2) * 2 * np.pi * r * radius / 2) @ _WEIGHTS)


def radius_ratio_for_depth(depth: float, impact: float, u1: float, u2: float) -> float:
    """Return the radius ratio that dims the star by ``depth`` at mid-transit (bisection)."""
    low, high = 0.0, 0.9
    for _ in range(60):
        middle = (low + high) / 2
        if 1.0 - occulted_flux(np.array([impact]), middle, u1, u2)[0] < depth:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@dataclass(frozen=True, kw_only=True)
class Transit:
    """One transit; the planet crosses the disc in a straight line at constant speed.

    Attributes
    ----------
    mid_bjd : float
        BJD_TDB of mid-transit.
    depth : float
        Fraction of the light lost at mid-transit.
    duration_hours : float
        First to last contact.
    impact : float
        Impact parameter in stellar radii.
    u1, u2 : float
        Quadratic limb darkening.
    """

    mid_bjd: float
    depth: float
    duration_hours: float
    impact: float = 0.12
    u1: float = 0.35
    u2: float = 0.25

    @cached_property
    def radius_ratio(self) -> float:
        """Planet to star."""
        return radius_ratio_for_depth(self.depth, self.impact, self.u1, self.u2)

    def relative_flux(self, bjd: Array) -> Array:
        """Return the flux relative to the star alone at BJD_TDB ``bjd``, shape (n,)."""
        half_chord = np.sqrt((1.0 + self.radius_ratio) ** 2 - self.impact**2)
        phase = (np.asarray(bjd, dtype=float) - self.mid_bjd) * 24.0 / (self.duration_hours / 2)
        return occulted_flux(np.hypot(self.impact, half_chord * phase), self.radius_ratio, self.u1, self.u2)
