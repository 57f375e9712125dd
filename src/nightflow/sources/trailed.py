"""How much less of a target's light an aperture holds when the target moves during the exposure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.sources.stellar_profile import StellarProfile

__all__ = ["trail_factor"]

_NODES_A_FWHM = 4.0
_FEWEST_NODES, _MOST_NODES = 12, 400
_ANGLES = 32


def trail_factor(profile: StellarProfile, radius: float, length: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return by how much a standing star's aperture holds more than that of a trail, at least 1, shape (n,).

    The trail is a star's profile that goes at a steady rate through the middle of the aperture. Light inside
    is summed over the circle and the path by Gauss-Legendre and, around the circle, equal steps.

    Parameters
    ----------
    profile : StellarProfile
    radius : float
        Of the aperture, pixels.
    length : ndarray of float, shape (n,)
        Pixels that the target moves during the exposure; 0 stands still.
    """
    factor = np.ones(len(length))
    if not np.isfinite(profile.fwhm):
        return factor
    standing = _share(profile, radius, 0.0)
    for row in np.flatnonzero(np.asarray(length) > 0):
        factor[row] = standing / _share(profile, radius, float(length[row]))
    return factor


def _share(profile: StellarProfile, radius: float, length: float) -> float:
    """Return the share of a trail's light inside the circle around its middle."""
    rho, weight = _nodes(radius, radius / profile.fwhm)
    along, time = _nodes(0.5 * length, 0.5 * length / profile.fwhm) if length else (np.zeros(1), np.ones(1))
    angle = (np.arange(_ANGLES) + 0.5) * np.pi / _ANGLES
    # One half of the circle and one half of the trail are as the others.
    squared = (
        rho[:, None, None] ** 2
        + along[:, None] ** 2
        - 2 * rho[:, None, None] * along[:, None] * np.cos(angle)
    )
    around = profile.surface_brightness(squared).mean(axis=2) @ (time / time.sum())
    return float(2 * np.pi * (weight * rho) @ around)


def _nodes(end: float, fwhms: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Gauss-Legendre nodes and weights from 0 to ``end``."""
    n = int(np.clip(_NODES_A_FWHM * fwhms, _FEWEST_NODES, _MOST_NODES))
    node, weight = np.polynomial.legendre.leggauss(n)
    return 0.5 * end * (node + 1.0), 0.5 * end * weight
