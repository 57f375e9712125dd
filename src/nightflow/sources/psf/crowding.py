"""How crowded a frame is, and PSF photometry where that asks for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from nightflow.flags import FLAG_DTYPE, Flag
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.sources.measure import MeasuredFrame
from nightflow.sources.psf.freed import with_freed_apertures
from nightflow.sources.psf.photometry import CrowdedPixels, NoPsf, measure_psf
from nightflow.sources.table import SourceTable

__all__ = ["crowding", "is_psf_wanted", "with_psf"]

_FEWEST = 50
"""Bright sources below which a frame is not crowded, whatever they are."""
_SIGNAL_TO_NOISE = 20.0
_NEAR = 2.5
"""In FWHM: about an aperture and the core of another star."""
_LEAST_SHARE = 0.1
"""Of a star's flux that another must have, to count: less is a flag's business."""


def crowding(sources: SourceTable, fwhm: float) -> float:
    """Return the fraction of bright sources that have another near them, of at least a tenth of their flux.

    Bright is a signal-to-noise ratio above 20, near is within 2.5 FWHM. Flags for neighbours are no measure:
    a deep frame of a wide field sets them by the hundred, for the faint stars beside the bright. The answer
    is 0 for fewer than 50 bright sources.

    Parameters
    ----------
    sources : SourceTable
    fwhm : float
        Pixels.
    """
    bright = sources.flux > _SIGNAL_TO_NOISE * sources.flux_err
    if bright.sum() < _FEWEST or not np.isfinite(fwhm):
        return 0.0
    tree = cKDTree(np.column_stack([sources.x, sources.y]))
    pairs = tree.query_pairs(_NEAR * fwhm, output_type="ndarray")
    beside = np.zeros(len(sources), bool)
    for one, other in (pairs.T, pairs.T[::-1]):
        beside[one[sources.flux[other] >= _LEAST_SHARE * sources.flux[one]]] = True
    return float(beside[bright].mean())


def is_psf_wanted(measured: MeasuredFrame, photometry: PhotometrySettings) -> bool:
    """Return whether a frame gets PSF photometry: by its profile, and by its crowding."""
    if photometry.psf == "crowded":
        return crowding(measured.sources, measured.fwhm) > photometry.psf_crowding
    return photometry.psf == "always"


def with_psf(
    measured: MeasuredFrame, detection: DetectionSettings, photometry: PhotometrySettings
) -> MeasuredFrame:
    """Return a measured frame with PSF photometry, where its profile and its crowding ask for it.

    Apertures are then freed from their neighbours, and flagged if those had more than 2 % of the light. Where
    PSF photometry cannot be done, the apertures stand as they are and a warning says why.

    Parameters
    ----------
    measured : MeasuredFrame
    detection, photometry : DetectionSettings, PhotometrySettings
        Of the profile.
    """
    sources = measured.sources
    if not is_psf_wanted(measured, photometry):
        return measured
    try:
        found = measure_psf(_pixels(measured, detection), sources.x, sources.y)
    except NoPsf as reason:
        return replace(measured, warnings=(*measured.warnings, str(reason)))
    flags = sources.flags | np.where(found.contaminated, FLAG_DTYPE(Flag.NEIGHBOUR), FLAG_DTYPE(0))
    said = found.described()
    if photometry.psf == "crowded":
        share = crowding(sources, measured.fwhm)
        said = f"crowded ({100 * share:.0f} % of the bright stars have one beside them): {said}"
    freed = with_freed_apertures(measured, found)
    return replace(freed, sources=replace(freed.sources, flags=flags), warnings=(*freed.warnings, said))


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
        correction=measured.aperture_correction,
        clean=pixels,
        scintillation=measured.scintillation,
        independent=pixels.pixel_noise == 1.0,
    )
