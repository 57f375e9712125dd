"""How crowded a frame is, and PSF photometry where that asks for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import FLAG_DTYPE, Flag
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.sources.measure import MeasuredFrame
from nightflow.sources.psf.photometry import CrowdedPixels, NoPsf, measure_psf

__all__ = ["crowding", "is_psf_wanted", "with_psf"]

_FEWEST = 50
"""Sources below which a frame is not crowded, whatever they are."""


def crowding(flags: NDArray[np.uint16]) -> float:
    """Return the fraction of sources with a neighbour's light in their aperture; 0 for fewer than 50."""
    if len(flags) < _FEWEST:
        return 0.0
    return float(np.mean((flags & int(Flag.NEIGHBOUR)) > 0))


def is_psf_wanted(settings: PhotometrySettings, flags: NDArray[np.uint16]) -> bool:
    """Return whether a frame gets PSF photometry: by its profile, and by the flags of its sources."""
    if settings.psf == "crowded":
        return crowding(flags) > settings.psf_crowding
    return settings.psf == "always"


def with_psf(
    measured: MeasuredFrame, detection: DetectionSettings, photometry: PhotometrySettings
) -> MeasuredFrame:
    """Return a measured frame with PSF photometry, where its profile and its crowding ask for it.

    Apertures that turn out to hold a neighbour's light are flagged. Where PSF photometry cannot be done, the
    apertures stand alone and a warning says why.

    Parameters
    ----------
    measured : MeasuredFrame
    detection, photometry : DetectionSettings, PhotometrySettings
        Of the profile.
    """
    sources = measured.sources
    if not is_psf_wanted(photometry, sources.flags):
        return measured
    try:
        found = measure_psf(_pixels(measured, detection), sources.x, sources.y)
    except NoPsf as reason:
        return replace(measured, warnings=(*measured.warnings, str(reason)))
    flags = sources.flags | np.where(found.contaminated, FLAG_DTYPE(Flag.NEIGHBOUR), FLAG_DTYPE(0))
    said = found.described()
    if photometry.psf == "crowded":
        said = f"crowded ({100 * crowding(sources.flags):.0f} % of the sources have neighbours): {said}"
    return replace(
        measured, sources=replace(sources, flags=flags), psf=found, warnings=(*measured.warnings, said)
    )


def _pixels(measured: MeasuredFrame, detection: DetectionSettings) -> CrowdedPixels:
    pixels = measured.pixels
    return CrowdedPixels(
        data=pixels.data,
        variance=pixels.variance,
        flags=pixels.flags,
        sky_rms=measured.sky_rms,
        box=detection.box,
        profile=measured.profile,
        radius=pixels.radius,
        annulus=pixels.annulus,
        correction=measured.aperture_correction,
        scintillation=measured.scintillation,
        independent=pixels.pixel_noise == 1.0,
    )
