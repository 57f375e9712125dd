"""How faint a frame sees."""

from __future__ import annotations

import numpy as np

__all__ = ["limiting_magnitude"]


def limiting_magnitude(
    zero_point: float,
    exptime: float,
    sky_rms: float,
    aperture_radius: float,
    signal_to_noise: float = 5.0,
    aperture_correction: float = 1.0,
) -> float:
    """Return the magnitude of a point source with the given S/N in the aperture.

    The noise is that of the sky as measured in the frame (read noise included) over the aperture, plus the
    source's own photons: f / sqrt(f + A sigma^2) = S/N, solved for f.

    Parameters
    ----------
    zero_point : float
        Magnitude of 1 electron/s.
    exptime : float
        Seconds.
    sky_rms : float
        Noise of a pixel of empty sky, electrons.
    aperture_radius : float
        Pixels.
    signal_to_noise : float
        5 by convention.
    aperture_correction : float
        Total flux over flux in the aperture.
    """
    noise2 = np.pi * aperture_radius**2 * sky_rms**2
    square = signal_to_noise**2
    flux = 0.5 * (square + np.sqrt(square**2 + 4 * square * noise2))
    return float(zero_point - 2.5 * np.log10(aperture_correction * flux / exptime))
