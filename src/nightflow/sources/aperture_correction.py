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

_FEWEST = 5
_SKY = (4.0, 6.0)
"""Radii of the sky's annulus, in FWHM: nearer, the wings of the star itself would be taken for sky."""
_CLIP = 3.0


@dataclass(frozen=True)
class ApertureCorrection:
    """One factor for the whole frame.

    Attributes
    ----------
    factor : float
        Total flux over flux in the aperture; at least 1.
    error : float
        1 sigma of ``factor``; NaN where it comes from the profile and not from stars.
    n_stars : int
        Stars measured; 0 where too few are bright and alone, and the fitted profile had to do.
    """

    factor: float
    error: float
    n_stars: int


def aperture_correction(
    clean: NDArray[np.float32],
    sky_mask: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    stars: NDArray[np.bool_],
    profile: StellarProfile,
    radius: float,
    total_fwhm: float = 4.0,
) -> ApertureCorrection:
    """Measure the light between the aperture and the whole star on bright stars without neighbours.

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
    """
    wide = max(total_fwhm * profile.fwhm, radius + 1)
    rows = np.flatnonzero(stars & _alone(x, y, wide + radius) & _inside(x, y, clean.shape, wide))
    if len(rows) < _FEWEST:
        fraction = profile.enclosed(radius) / profile.enclosed(wide)
        return ApertureCorrection(max(1.0, 1 / fraction), float("nan"), 0)
    inner = max(wide + 1, _SKY[0] * profile.fwhm)
    outer = max(inner + 4, _SKY[1] * profile.fwhm)
    level, _ = local_background(clean, sky_mask, x[rows], y[rows], inner, outer)
    sums = [
        sep.sum_circle(clean, x[rows], y[rows], r, subpix=0)[0] - np.pi * r**2 * level for r in (wide, radius)
    ]
    ratio = sums[0] / np.maximum(sums[1], 1e-6)
    kept = ratio[np.abs(ratio - np.median(ratio)) <= max(_CLIP * robust_sigma(ratio), 1e-6)]
    error = float(np.std(kept) * np.sqrt(np.pi / 2 / len(kept)))
    return ApertureCorrection(max(1.0, float(np.median(kept))), error, len(kept))


def _alone(x: NDArray[np.float64], y: NDArray[np.float64], reach: float) -> NDArray[np.bool_]:
    alone = np.ones(len(x), bool)
    if len(x):
        alone[cKDTree(np.column_stack([x, y])).query_pairs(reach, output_type="ndarray").ravel()] = False
    return alone


def _inside(
    x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, ...], margin: float
) -> NDArray[np.bool_]:
    return (x > margin) & (x < shape[1] - 1 - margin) & (y > margin) & (y < shape[0] - 1 - margin)
