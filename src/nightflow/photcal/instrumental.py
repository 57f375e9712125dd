"""Magnitudes before a zero point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["POGSON", "instrumental_magnitudes"]

POGSON = 2.5 / np.log(10)
"""Magnitudes of a relative error of 1."""


def instrumental_magnitudes(
    flux: NDArray[np.float64], flux_err: NDArray[np.float64], exptime: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return -2.5 log10(flux / exptime) and its error; NaN where the flux is not positive and finite."""
    positive = (flux > 0) & np.isfinite(flux)
    safe = np.where(positive, flux, 1.0)
    mag = np.where(positive, -2.5 * np.log10(safe / exptime), np.nan)
    return mag, np.where(positive, POGSON * flux_err / safe, np.nan)
