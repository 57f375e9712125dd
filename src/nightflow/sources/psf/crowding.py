"""How crowded a frame is, and PSF photometry where that asks for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import FLAG_DTYPE, Flag
from nightflow.instruments.profile import PhotometrySettings
from nightflow.sources.psf.photometry import CrowdedPixels, NoPsf, PsfPhotometry, measure_psf
from nightflow.sources.table import SourceTable

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
    frame: CrowdedPixels, sources: SourceTable, correction: float, settings: PhotometrySettings
) -> tuple[SourceTable, PsfPhotometry | None, tuple[str, ...]]:
    """Return the sources of a frame, PSF photometry where it is wanted, and what a reader should know of it.

    Apertures that PSF photometry finds to hold a neighbour's light are flagged. Where it cannot be done, the
    apertures stand alone and the reason is said.

    Parameters
    ----------
    frame : CrowdedPixels
    sources : SourceTable
        Measured with apertures.
    correction : float
        The frame's aperture correction.
    settings : PhotometrySettings
        Of the profile.
    """
    if not is_psf_wanted(settings, sources.flags):
        return sources, None, ()
    try:
        found = measure_psf(frame, sources.x, sources.y, correction)
    except NoPsf as reason:
        return sources, None, (str(reason),)
    flags = sources.flags | np.where(found.contaminated, FLAG_DTYPE(Flag.NEIGHBOUR), FLAG_DTYPE(0))
    return replace(sources, flags=flags), found, (_said(found, settings, sources),)


def _said(found: PsfPhotometry, settings: PhotometrySettings, sources: SourceTable) -> str:
    if settings.psf == "always":
        return found.described()
    share = crowding(sources.flags)
    return f"crowded ({100 * share:.0f} % of the sources have neighbours): {found.described()}"
