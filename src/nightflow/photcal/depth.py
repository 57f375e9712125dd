"""How faint a frame sees."""

from __future__ import annotations

import numpy as np

__all__ = ["limiting_magnitude"]


def limiting_magnitude(
    zero_point: float,
    exptime: float,
    aperture_noise: float,
    signal_to_noise: float = 5.0,
    aperture_correction: float = 1.0,
) -> float:
    """Return the magnitude of a point source with the given S/N in the aperture.

    The noise is that of an empty aperture as measured on the frame, plus the source's own photons:
    f / sqrt(f + noise^2) = S/N, solved for f.

    Parameters
    ----------
    zero_point : float
        Magnitude of 1 electron/s.
    exptime : float
        Seconds.
    aperture_noise : float
        Standard deviation of the flux in an empty aperture, electrons; see
        `nightflow.sources.empty_apertures`.
    signal_to_noise : float
        5 by convention.
    aperture_correction : float
        Total flux over flux in the aperture.
    """
    square = signal_to_noise**2
    flux = 0.5 * (square + np.sqrt(square**2 + 4 * square * aperture_noise**2))
    return float(zero_point - 2.5 * np.log10(aperture_correction * flux / exptime))
