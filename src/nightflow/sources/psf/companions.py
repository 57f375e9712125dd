"""Stars that show only once the others are taken off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

from nightflow.sources.psf.fit import FitPixels, StarFits
from nightflow.sources.psf.model import PsfModel

__all__ = ["find_companions"]

Array = NDArray[np.float64]

_THRESHOLD = 5.0
"""Signal-to-noise ratio of a star in the residuals."""
_WORST, _LEAST_PROFILE_ERROR = 2.0, 0.03
"""The PSF's error at its worst star, in units of that at the median one; and no PSF is thought to be better
than the second where a companion is looked for."""
_WING_ERROR, _WING_REACH = 5e-4, 2.5
"""Error of the PSF's wings in parts of its peak, and how far out they are in FWHM: so little of a bright
star is as bright as a faint one."""
_APART = 0.5
"""In FWHM: nearer to a known star, residuals are those of its PSF."""
_USABLE = 0.8
"""Part of the filter's pixels that must be usable."""
_FWHM_TO_SIGMA = 1 / 2.3548


def find_companions(
    pixels: FitPixels, psf: PsfModel, fits: StarFits, profile_error: float
) -> tuple[Array, Array]:
    """Return the places of stars in the residuals, 0-based pixels, the most significant first.

    The residuals go through a matched filter (Stetson 1987, PASP 99, 191); a star is a peak of 5 sigma. Its
    noise is that of the photons, and of the PSF's own error where a star has been taken off.

    Parameters
    ----------
    pixels : FitPixels
    psf : PsfModel
    fits : StarFits
        The stars that are known.
    profile_error : float
        Of the PSF, relative (`nightflow.sources.psf.build.PsfCheck`).
    """
    model = psf.image(fits.x, fits.y, fits.flux)
    sigma = psf.fwhm * _FWHM_TO_SIGMA
    area = 4 * np.pi * sigma**2
    # An error of the profile is common to all pixels of a core: a mean over them does not lessen it.
    core = max(_WORST * profile_error, _LEAST_PROFILE_ERROR) * model
    wing = _WING_ERROR * maximum_filter(model, size=2 * int(_WING_REACH * psf.fwhm) + 1)
    usable = np.isfinite(pixels.noise)
    weight = 1 / (pixels.variance(model) + area * (core**2 + wing**2))
    residual = np.where(usable, pixels.data - model, 0.0)
    signal = gaussian_filter(residual * weight, sigma, mode="constant")
    # The square of a Gaussian is one that is narrower by the root of 2.
    noise2 = gaussian_filter(weight, sigma / np.sqrt(2), mode="constant") / area
    ratio = signal / np.sqrt(np.maximum(noise2, 1e-12))
    # What surrounds bad and saturated pixels is seldom a star.
    ratio[gaussian_filter(usable.astype(np.float32), sigma) < _USABLE] = 0
    peak = (ratio == maximum_filter(ratio, size=3)) & (ratio > _THRESHOLD)
    rows, columns = np.nonzero(peak)
    order = np.argsort(-ratio[rows, columns], kind="stable")
    x, y = columns[order].astype(float), rows[order].astype(float)
    return _apart(x, y, fits, _APART * psf.fwhm)


def _apart(x: Array, y: Array, fits: StarFits, distance: float) -> tuple[Array, Array]:
    """Return those that are apart from the known stars, and from more significant ones among themselves."""
    places = np.column_stack([x, y])
    kept = np.ones(len(places), bool)
    if len(fits) and len(places):
        kept = cKDTree(np.column_stack([fits.x, fits.y])).query(places)[0] > distance
    pairs = cKDTree(places).query_pairs(distance, output_type="ndarray") if len(places) else []
    for first, second in np.sort(pairs, axis=1) if len(pairs) else []:
        kept[second] &= ~kept[first]
    return x[kept], y[kept]
