"""From a clean frame to its sources: background, detection, centroids, apertures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray

from nightflow.flags import UNUSABLE, Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.quality.measures import frame_ellipticity, frame_fwhm
from nightflow.sources.aperture import aperture_flags, measure_apertures
from nightflow.sources.background import Background, measure_background
from nightflow.sources.detection import Detections, detect
from nightflow.sources.luminance import luminance
from nightflow.sources.table import SourceTable

__all__ = ["MeasuredFrame", "measure_frame"]

_FWHM_TO_SIGMA = 1 / 2.3548
_LARGEST_HALF_LIGHT = 12.0


@dataclass(frozen=True, kw_only=True)
class MeasuredFrame:
    """Sources of a frame and what they say of it.

    Attributes
    ----------
    sources : SourceTable
    fwhm : float
        Median of the stars, pixels; NaN without a star.
    ellipticity : float
        Median of the stars, 1 - b/a; NaN without a star.
    sky : float
        Electrons a pixel.
    sky_rms : float
        Noise of a pixel of empty sky, electrons.
    aperture_radius : float
        Pixels.
    """

    sources: SourceTable
    fwhm: float
    ellipticity: float
    sky: float
    sky_rms: float
    aperture_radius: float


def measure_frame(
    frame: Frame, detection: DetectionSettings, photometry: PhotometrySettings
) -> MeasuredFrame:
    """Measure every source of a calibrated frame.

    Parameters
    ----------
    frame : Frame
        In electrons, with variance and flags.
    detection, photometry : DetectionSettings, PhotometrySettings
        Of the camera's profile.

    Raises
    ------
    FrameRejected
        The pixels hold no sky (constant, all bad, everything above the threshold).
    """
    if frame.unit != "electron" or frame.variance is None or frame.flags is None:
        raise ValueError("measure_frame needs a calibrated frame: electrons, with variance and flags")
    if frame.header.bayer:
        frame = _luminance_frame(frame)
    assert frame.flags is not None
    unusable = (frame.flags & int(UNUSABLE)) > 0
    background = measure_background(frame.data, unusable, detection.box)
    clean = np.where(np.isfinite(frame.data), frame.data - background.level, np.float32(0))
    # Saturated stars must be found whole, so that their rims are not taken for stars of their own.
    hidden = (frame.flags & int(UNUSABLE & ~Flag.SATURATED)) > 0
    detections = detect(clean, background.rms, hidden, detection)
    sky_mask = unusable | (detections.segments > 0)
    return _measure_detections(frame, clean, sky_mask, background, detections, photometry)


def _luminance_frame(frame: Frame) -> Frame:
    """Return the mosaic's luminance: the mean of four pixels has a quarter of their mean variance."""
    assert frame.variance is not None
    return frame.after(
        "luminance: mean over 2 x 2 cells of the colour mosaic",
        data=luminance(frame.data),
        variance=0.25 * luminance(frame.variance),
    )


def _measure_detections(
    frame: Frame,
    clean: NDArray[np.float32],
    sky_mask: NDArray[np.bool_],
    background: Background,
    detections: Detections,
    photometry: PhotometrySettings,
) -> MeasuredFrame:
    assert frame.variance is not None
    assert frame.flags is not None
    half_light = _half_light_radius(clean, detections)
    x, y = _windowed_centroids(clean, detections, half_light)
    at = _pixel(y, clean.shape[0]), _pixel(x, clean.shape[1])
    ellipticity = 1 - detections.semi_minor / detections.semi_major
    signal_to_noise = detections.peak / background.median_rms
    isolated = (frame.flags[at] == 0) & ~detections.blended & np.isfinite(half_light)
    fwhm = frame_fwhm(2 * half_light, signal_to_noise, isolated)
    radius, annulus, reach = _radii(fwhm, photometry)
    apertures = measure_apertures(clean, frame.variance, sky_mask, x, y, radius, annulus)
    flags = aperture_flags(frame.flags, x, y, radius, radius + reach, apertures.flux)
    flags[detections.blended] |= np.uint16(Flag.NEIGHBOUR)
    centroid_err = _centroid_error(half_light, apertures.flux, apertures.flux_err)
    # A cell of the luminance is centred half a pixel up and right of its first pixel.
    shift = 0.5 if frame.header.bayer else 0.0
    table = SourceTable(
        x=x + shift,
        y=y + shift,
        x_err=centroid_err,
        y_err=centroid_err.copy(),
        flux=apertures.flux,
        flux_err=apertures.flux_err,
        peak=detections.peak,
        background=background.level[at] + apertures.background,
        fwhm=2 * half_light,
        ellipticity=ellipticity,
        theta=detections.theta,
        flags=flags,
    )
    return MeasuredFrame(
        sources=table,
        fwhm=fwhm,
        ellipticity=frame_ellipticity(ellipticity, signal_to_noise, isolated),
        sky=background.median_level,
        sky_rms=background.median_rms,
        aperture_radius=radius,
    )


def _pixel(position: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    return np.clip(np.rint(position).astype(np.intp), 0, size - 1)


def _radii(fwhm: float, photometry: PhotometrySettings) -> tuple[float, tuple[float, float], float]:
    """Return the aperture's radius, the annulus' two radii and the reach of a star's light, all in pixels."""
    if not np.isfinite(fwhm):
        fwhm = photometry.minimum_radius / photometry.aperture_fwhm
    radius = max(photometry.minimum_radius, photometry.aperture_fwhm * fwhm)
    inner, outer = photometry.annulus_fwhm
    inner_radius = max(inner * fwhm, radius + 2)
    return radius, (inner_radius, max(outer * fwhm, inner_radius + 3)), fwhm


def _half_light_radius(clean: NDArray[np.float32], detections: Detections) -> NDArray[np.float64]:
    """Radius that holds half the light within 6 semi-major axes; NaN where it cannot be told."""
    if len(detections) == 0:
        return np.empty(0)
    reach = np.clip(6 * detections.semi_major, 4.0, 2 * _LARGEST_HALF_LIGHT)
    radius, failed = sep.flux_radius(clean, detections.x, detections.y, reach, 0.5, subpix=5)
    return np.where((failed == 0) & (radius > 0.3), radius, np.nan)


def _windowed_centroids(
    clean: NDArray[np.float32], detections: Detections, half_light: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gaussian-windowed centroids (SExtractor's XWIN, YWIN), the moments' where those wander off."""
    if len(detections) == 0:
        return detections.x, detections.y
    sigma = np.clip(np.nan_to_num(2 * half_light * _FWHM_TO_SIGMA, nan=1.5), 0.6, _LARGEST_HALF_LIGHT)
    x, y, _ = sep.winpos(clean, detections.x, detections.y, sigma)
    steady = np.hypot(x - detections.x, y - detections.y) < 2 * sigma
    return np.where(steady, x, detections.x), np.where(steady, y, detections.y)


def _centroid_error(
    half_light: NDArray[np.float64], flux: NDArray[np.float64], flux_err: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1-sigma error of each coordinate: sigma of the profile over the S/N (King 1983), at most 2 pixels."""
    sigma = np.nan_to_num(2 * half_light * _FWHM_TO_SIGMA, nan=1.5)
    signal_to_noise = np.maximum(flux, 0) / np.maximum(flux_err, 1e-9)
    return np.minimum(sigma / np.maximum(signal_to_noise, 1e-3), 2.0)
