"""Places and widths of sources, and which of them are stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.instruments.profile import PhotometrySettings
from nightflow.quality.measures import frame_ellipticity, frame_fwhm
from nightflow.sources.aperture_correction import FEWEST
from nightflow.sources.background import Background
from nightflow.sources.centroids import windowed_centroids
from nightflow.sources.detection import Detections
from nightflow.sources.half_light import half_light_radii
from nightflow.sources.stellar_profile import SEEING_BETA, StellarProfile, stacked_profile

__all__ = ["Shapes", "centroid_error", "measure_shapes", "nearest_pixels", "or_expected"]

_FWHM_TO_SIGMA = 1 / 2.3548
_SMALLEST_HALF_LIGHT, _LARGEST_HALF_LIGHT = 0.3, 12.0
"""Pixels."""
_STELLAR = 0.3
"""Relative difference of a half-light radius from the stars' within which a source is one of them."""
_BRIGHT = 20.0
"""Peak over sky noise from which a star's profile goes into the stack."""


@dataclass(frozen=True)
class Shapes:
    """Places and widths of n sources, and the profile of the stars among them.

    Attributes
    ----------
    x, y, half_light, ellipticity, fwhm : ndarray of float64, shape (n,)
        Pixels of the array that was measured.
    stars, bright : ndarray of bool, shape (n,)
        Unflagged, unblended and as wide as a star; those far above the noise.
    profile : StellarProfile
        Of the frame.
    median_ellipticity : float
        Of the frame.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    half_light: NDArray[np.float64]
    ellipticity: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    stars: NDArray[np.bool_]
    bright: NDArray[np.bool_]
    profile: StellarProfile
    median_ellipticity: float


def measure_shapes(
    clean: NDArray[np.float32],
    flags: NDArray[np.uint16],
    background: Background,
    detections: Detections,
    photometry: PhotometrySettings,
) -> Shapes:
    """Measure where the detections are and how wide, and the profile of the stars among them.

    Parameters
    ----------
    clean : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons, finite everywhere.
    flags : ndarray of uint16, shape (ny, nx)
    background : Background
    detections : Detections
    photometry : PhotometrySettings
        Of the camera's profile.
    """
    half_light = _half_light_radius(clean, detections)
    ellipticity = 1 - detections.semi_minor / detections.semi_major
    signal_to_noise = detections.peak / background.median_rms
    isolated = (flags[nearest_pixels(detections)] == 0) & ~detections.blended & np.isfinite(half_light)
    width = frame_fwhm(2 * half_light, signal_to_noise, isolated)
    x, y = _windowed_centroids(clean, detections, half_light, or_expected(width, photometry))
    stars = isolated & (np.abs(2 * half_light / width - 1) < _STELLAR)
    bright = stars & (signal_to_noise > _BRIGHT)
    enough = np.count_nonzero(bright) >= FEWEST
    used, beta = (bright, None) if enough else (stars, SEEING_BETA)
    profile = stacked_profile(clean, x[used], y[used], detections.peak[used], width, beta)
    return Shapes(
        x=x,
        y=y,
        half_light=half_light,
        ellipticity=ellipticity,
        fwhm=2 * half_light * profile.fwhm / width,
        stars=stars,
        bright=bright,
        profile=profile,
        median_ellipticity=frame_ellipticity(ellipticity, signal_to_noise, isolated),
    )


def or_expected(fwhm: float, photometry: PhotometrySettings) -> float:
    """Return the FWHM, or what the smallest aperture was made for where no star tells."""
    return fwhm if np.isfinite(fwhm) else photometry.minimum_radius / photometry.aperture_fwhm


def nearest_pixels(detections: Detections) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the detections."""
    ny, nx = detections.segments.shape
    return _pixel(detections.y, ny), _pixel(detections.x, nx)


def _pixel(position: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    return np.clip(np.rint(position).astype(np.intp), 0, size - 1)


def _half_light_radius(clean: NDArray[np.float32], detections: Detections) -> NDArray[np.float64]:
    """Radius that holds half the light within 4 semi-major axes; NaN where it cannot be told."""
    if len(detections) == 0:
        return np.empty(0)
    reach = np.clip(4 * detections.semi_major, 4.0, 2 * _LARGEST_HALF_LIGHT)
    radius = half_light_radii(clean, detections.x, detections.y, reach)
    return np.where(radius > _SMALLEST_HALF_LIGHT, radius, np.nan)


def _windowed_centroids(
    clean: NDArray[np.float32], detections: Detections, half_light: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gaussian-windowed centroids, the moments' where those wander off.

    The window is that of the source's own width, but never much wider than a star's: the centroid of a faint
    source would climb up the flank of a bright neighbour.
    """
    if len(detections) == 0:
        return detections.x, detections.y
    width = np.nan_to_num(2 * half_light, nan=reach)
    sigma = _FWHM_TO_SIGMA * np.clip(width, 1.4, 1.5 * reach)
    x, y = windowed_centroids(clean, detections.x, detections.y, sigma)
    steady = np.hypot(x - detections.x, y - detections.y) < 0.5 * reach
    return np.where(steady, x, detections.x), np.where(steady, y, detections.y)


def centroid_error(
    half_light: NDArray[np.float64], flux: NDArray[np.float64], flux_err: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1-sigma error of each coordinate: sigma of the profile over the S/N (King 1983), at most 2 pixels."""
    sigma = np.nan_to_num(2 * half_light * _FWHM_TO_SIGMA, nan=1.5)
    signal_to_noise = np.maximum(flux, 0) / np.maximum(flux_err, 1e-9)
    return np.minimum(sigma / np.maximum(signal_to_noise, 1e-3), 2.0)
