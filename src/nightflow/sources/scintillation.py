"""How much the air makes a star twinkle."""

from __future__ import annotations

import numpy as np

from nightflow.instruments.header import FrameHeader
from nightflow.instruments.profile import PhotometrySettings

__all__ = ["scintillation"]

_SCALE_HEIGHT = 8000.0
"""Of the turbulence, metres."""


def scintillation(header: FrameHeader, photometry: PhotometrySettings) -> float:
    """Return the relative scatter that scintillation gives each flux of a frame; 0 where it is not known.

    Young's formula (1967, AJ 72, 747) as Osborn et al. have it (2015, MNRAS 452, 1707, eq. 7):
    sigma^2 = 1e-5 C^2 D^(-4/3) t^-1 X^3 exp(-2 h / H). It holds for exposures that are long against the
    crossing time of the shadows, some 10 ms.

    Parameters
    ----------
    header : FrameHeader
        Exposure, airmass, aperture, and the height of the site; sea level where that is not known.
    photometry : PhotometrySettings
        ``telescope_aperture`` in metres, which wins over the header's, and ``scintillation``, the constant C.
    """
    aperture = photometry.telescope_aperture or header.aperture
    airmass = header.airmass
    if aperture is None or airmass is None or not header.exptime > 0:
        return 0.0
    height = header.site.height if header.site is not None else 0.0
    variance = 1e-5 * aperture ** (-4 / 3) / header.exptime * airmass**3 * np.exp(-2 * height / _SCALE_HEIGHT)
    return float(photometry.scintillation * np.sqrt(variance))
