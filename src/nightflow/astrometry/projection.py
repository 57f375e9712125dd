"""The gnomonic (TAN) projection in plain numpy, for the inner loops of the solvers.

Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3; the tests hold it to astropy.wcs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_plane", "to_plane"]

Array = NDArray[np.float64]


def to_plane(ra: Array, dec: Array, ra0: float, dec0: float) -> tuple[Array, Array]:
    """Project the sky onto the plane that touches it at (ra0, dec0).

    Parameters
    ----------
    ra, dec : ndarray
        Degrees.
    ra0, dec0 : float
        Point of contact, degrees.

    Returns
    -------
    xi, eta : ndarray
        Degrees, towards east and north; NaN for what lies 90 degrees away or more.
    """
    d_ra, dec_r, dec0_r = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    north, equator = np.sin(dec_r), np.cos(dec_r)
    towards = equator * np.cos(d_ra)
    cosine = north * np.sin(dec0_r) + towards * np.cos(dec0_r)
    cosine = np.where(cosine > 1e-6, cosine, np.nan)
    xi = equator * np.sin(d_ra) / cosine
    eta = (north * np.cos(dec0_r) - towards * np.sin(dec0_r)) / cosine
    return np.degrees(xi), np.degrees(eta)


def from_plane(xi: Array, eta: Array, ra0: float, dec0: float) -> tuple[Array, Array]:
    """Return the sky position (degrees, 0 <= ra < 360) of points of the tangent plane; see `to_plane`."""
    xi_r, eta_r, dec0_r = np.radians(xi), np.radians(eta), np.radians(dec0)
    east = np.cos(dec0_r) - eta_r * np.sin(dec0_r)
    ra = (ra0 + np.degrees(np.arctan2(xi_r, east))) % 360.0
    dec = np.degrees(np.arctan2(np.sin(dec0_r) + eta_r * np.cos(dec0_r), np.hypot(xi_r, east)))
    return ra, dec
