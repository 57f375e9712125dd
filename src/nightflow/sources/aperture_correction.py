"""How much of a star's light falls outside the aperture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.robust import robust_sigma
from nightflow.sources.local_background import local_background
from nightflow.sources.stellar_profile import StellarProfile

__all__ = ["ApertureCorrection", "aperture_correction"]

FEWEST = 5
"""Stars from which one takes part of its own."""
_SKY = (4.0, 6.0)
"""Radii of the sky's annulus, in FWHM: nearer, the wings of the star itself would be taken for sky."""
_CLIP = 3.0
_PRECISE = 0.03
"""Error to which faint stars must give the factor; the assumed shape of a profile is no worse than that."""


@dataclass(frozen=True)
class ApertureCorrection:
    """One factor for the whole frame.

    Its error is common to all sources of the frame: the zero point takes it up, so that neither magnitudes
    nor the zero point's own error hold it. Only the fluxes in electrons are uncertain by it, all in one
    direction, and their errors, which are those between sources, leave it out.

    Attributes
    ----------
    factor : float
        Total flux over flux in the aperture; at least 1.
    error : float
        1 sigma of ``factor``; NaN where it comes from the profile and not from stars.
    n_stars : int
        Stars measured; 0 where too few are alone, and the fitted profile had to do.
    warning : str
        What a reader should know; "" where bright stars gave the factor.
    """

    factor: float
    error: float
    n_stars: int
    warning: str = ""


def aperture_correction(
    clean: NDArray[np.float32],
    sky_mask: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    stars: NDArray[np.bool_],
    profile: StellarProfile,
    radius: float,
    total_fwhm: float = 4.0,
    faint: NDArray[np.bool_] | None = None,
) -> ApertureCorrection:
    """Measure the light between the aperture and the whole star on stars without neighbours.

    Bright stars give a factor each, and the median is taken. Where fewer than 5 are bright, all stars
    together give one, as the ratio of their summed light; where that is too noisy, the profile's is taken.

    Parameters
    ----------
    clean : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons.
    sky_mask : ndarray of bool, shape (ny, nx)
        True where a pixel is no sky.
    x, y : ndarray of float64, shape (n,)
        Of every source, 0-based pixels.
    stars : ndarray of bool, shape (n,)
        Bright, unflagged ones.
    profile : StellarProfile
        Of the frame.
    radius : float
        Of the aperture, pixels.
    total_fwhm : float
        Radius, in FWHM, that counts as holding all the light.
    faint : ndarray of bool, shape (n,), optional
        Unflagged stars of any brightness, to be used where there are too few bright ones.
    """
    wide = max(total_fwhm * profile.fwhm, radius + 1)
    usable = _alone(x, y, wide + radius) & _inside(x, y, clean.shape, wide)
    bright = np.flatnonzero(stars & usable)
    if len(bright) >= FEWEST:
        return _median_ratio(*_light(clean, sky_mask, x[bright], y[bright], radius, wide, profile.fwhm))
    rows = bright if faint is None else np.flatnonzero((stars | faint) & usable)
    if len(rows) >= FEWEST:
        summed = _ratio_of_sums(*_light(clean, sky_mask, x[rows], y[rows], radius, wide, profile.fwhm))
        if summed.error <= _PRECISE:
            return summed
    factor = max(1.0, profile.enclosed(wide) / profile.enclosed(radius))
    return ApertureCorrection(
        factor,
        float("nan"),
        0,
        f"aperture correction {factor:.3f} from the fitted profile, for want of stars that are bright and "
        "alone: fluxes in electrons may be off by some per cent, all alike",
    )


def _light(
    clean: NDArray[np.float32],
    sky_mask: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    radius: float,
    wide: float,
    fwhm: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the whole light and that inside the aperture, electrons, of each star."""
    inner = max(wide + 1, _SKY[0] * fwhm)
    outer = max(inner + 4, _SKY[1] * fwhm)
    level, _ = local_background(clean, sky_mask, x, y, inner, outer)
    whole, inside = (
        sep.sum_circle(clean, x, y, r, subpix=0)[0] - np.pi * r**2 * level for r in (wide, radius)
    )
    return whole, inside


def _median_ratio(whole: NDArray[np.float64], inside: NDArray[np.float64]) -> ApertureCorrection:
    ratio = whole / np.maximum(inside, 1e-6)
    kept = ratio[np.abs(ratio - np.median(ratio)) <= max(_CLIP * robust_sigma(ratio), 1e-6)]
    error = float(np.std(kept) * np.sqrt(np.pi / 2 / len(kept)))
    return ApertureCorrection(max(1.0, float(np.median(kept))), error, len(kept))


def _ratio_of_sums(whole: NDArray[np.float64], inside: NDArray[np.float64]) -> ApertureCorrection:
    """Each star counts by its light, so that the faintest add little noise (Cochran 1977, ch. 6)."""
    outside = whole - inside
    kept = np.ones(len(whole), bool)
    for _ in range(3):
        light = max(float(inside[kept].sum()), 1e-6)
        residual = outside - float(outside[kept].sum()) / light * inside
        kept = np.abs(residual) <= max(_CLIP * robust_sigma(residual), 1e-6)
    count = int(kept.sum())
    light = max(float(inside[kept].sum()), 1e-6)
    factor = max(1.0, 1 + float(outside[kept].sum()) / light)
    error = float(np.std(residual[kept]) * np.sqrt(count)) / light * np.sqrt(count / max(count - 1, 1))
    return ApertureCorrection(
        factor,
        error,
        count,
        f"fewer than {FEWEST} bright stars: the aperture correction, {factor:.3f} +- {error:.3f}, is that of "
        f"{count} faint ones; fluxes in electrons are uncertain by it, all alike",
    )


def _alone(x: NDArray[np.float64], y: NDArray[np.float64], reach: float) -> NDArray[np.bool_]:
    alone = np.ones(len(x), bool)
    if len(x):
        alone[cKDTree(np.column_stack([x, y])).query_pairs(reach, output_type="ndarray").ravel()] = False
    return alone


def _inside(
    x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, ...], margin: float
) -> NDArray[np.bool_]:
    return (x > margin) & (x < shape[1] - 1 - margin) & (y > margin) & (y < shape[0] - 1 - margin)
