"""Flux densities from magnitudes, where the band's place in the AB system is known.

An AB magnitude is a flux density: 0 mag is 3631 Jy (Oke & Gunn 1983, ApJ 266, 713). A Vega magnitude becomes
AB by an offset of its band; a band without a published one here has no flux density.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["AB_ZERO_POINT", "VEGA_TO_AB", "ab_offset", "microjansky"]

AB_ZERO_POINT = 23.9
"""Magnitude of 1 microjansky; 3631 Jy is 0 mag to 0.0001."""

VEGA_TO_AB: dict[str, float] = {
    # Blanton & Roweis 2007, AJ 133, 734, table 1
    "U": 0.79, "B": -0.09, "V": 0.02, "R": 0.21, "I": 0.45,
    # Riello et al. 2021, A&A 649, A3, zero points of Gaia EDR3: AB minus Vega
    "G": 0.1136, "BP": 0.0155, "RP": 0.3561,
}  # fmt: skip
"""m_AB - m_Vega."""


def ab_offset(system: str, band: str) -> float:
    """Return AB minus the system's own magnitudes in a band; NaN where it is not known."""
    if system == "AB":
        return 0.0
    return VEGA_TO_AB.get(band.partition(" from ")[0], float("nan")) if system == "Vega" else float("nan")


def microjansky(
    flux: NDArray[np.floating], zero_point: NDArray[np.floating], system: str, band: str
) -> NDArray[np.float64]:
    """Return flux densities in microjansky; NaN where the band has no known AB zero point.

    Parameters
    ----------
    flux : ndarray of float, shape (n,)
        Any linear unit; may be negative.
    zero_point : ndarray of float, shape (n,) or scalar
        Magnitude of flux 1; NaN where unknown.
    system : str
        "AB" or "Vega".
    band : str
        Of the zero point, such as "V", or "V from G, BP-RP (Riello 2021)".
    """
    offset = ab_offset(system, band)
    return np.asarray(flux * 10.0 ** (0.4 * (AB_ZERO_POINT - np.asarray(zero_point, float) - offset)))
