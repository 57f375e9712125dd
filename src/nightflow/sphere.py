"""Places on the sky as unit vectors: poles and right ascension 0 are places like any other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["angle_of_chord", "unit_vectors"]


def unit_vectors(ra: float | NDArray[np.floating], dec: float | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the unit vectors, shape (..., 3), of positions in degrees, broadcast against each other."""
    ra, dec = np.broadcast_arrays(np.radians(ra), np.radians(dec))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def angle_of_chord(length: float) -> float:
    """Return how many degrees two unit vectors are apart whose ends are ``length`` apart.

    Good for arcseconds, too, of which the cosine knows nothing.
    """
    return float(np.degrees(2.0 * np.arcsin(min(length / 2.0, 1.0))))
