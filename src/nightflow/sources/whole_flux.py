"""From the flux in an aperture to that of the whole star, with all of its error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.sources.aperture_correction import ApertureCorrection

__all__ = ["whole_flux"]


def whole_flux(
    flux: NDArray[np.float64],
    flux_err: NDArray[np.float64],
    correction: ApertureCorrection,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    scintillation: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return flux and error of the whole star, electrons, shape (n,).

    To the error of the aperture's flux come that of the correction, as far as it differs over the field, and
    the twinkling of the star.

    Parameters
    ----------
    flux, flux_err : ndarray of float64, shape (n,)
        In the aperture, electrons; the error is that of photons, read noise and local background.
    correction : ApertureCorrection
    x, y : ndarray of float64, shape (n,)
        0-based pixels of the array that was measured.
    scintillation : float
        Relative, of the frame.
    """
    factor, factor_err = correction.at(x, y)
    relative = np.hypot(factor_err, scintillation)
    return flux * factor, factor * np.hypot(flux_err, flux * relative)
