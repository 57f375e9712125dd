"""From a clean frame to its sources: background, detection, centroids, apertures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import UNUSABLE, Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.quality.measures import frame_ellipticity, frame_fwhm
from nightflow.sources.aperture import ApertureFluxes, aperture_flags, measure_apertures
from nightflow.sources.aperture_correction import FEWEST, ApertureCorrection, aperture_correction
from nightflow.sources.background import Background, measure_background
from nightflow.sources.centroids import windowed_centroids
from nightflow.sources.clean_pixels import CleanPixels
from nightflow.sources.detection import Detections, detect
from nightflow.sources.empty_apertures import EmptyApertures, empty_apertures
from nightflow.sources.fill import fill_flagged
from nightflow.sources.half_light import half_light_radii
from nightflow.sources.luminance import CELL_NOISE, luminance
from nightflow.sources.neighbours import NeighbourShares, has_neighbours, neighbour_light, neighbour_shares
from nightflow.sources.psf.photometry import PsfPhotometry
from nightflow.sources.scintillation import scintillation
from nightflow.sources.stellar_profile import SEEING_BETA, StellarProfile, stacked_profile
from nightflow.sources.table import SourceTable
from nightflow.sources.whole_flux import whole_flux

__all__ = ["FAST", "Found", "MeasuredFrame", "Tools", "find", "measure_frame"]

_FWHM_TO_SIGMA = 1 / 2.3548
_SMALLEST_HALF_LIGHT, _LARGEST_HALF_LIGHT = 0.3, 12.0
"""Pixels."""
_STELLAR = 0.3
"""Relative difference of a half-light radius from the stars' within which a source is one of them."""
_BRIGHT = 20.0
"""Peak over sky noise from which a star's profile goes into the stack."""


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
        Noise of a pixel of empty sky, electrons; of a colour mosaic, that of its own pixels.
    aperture_radius : float
        Pixels.
    aperture_correction : ApertureCorrection
        By which every flux and its error have been multiplied: fluxes are those of the whole star.
    profile : StellarProfile
        Of the stars.
    pixels : CleanPixels
        Where further apertures can be put; those of a frame with PSF photometry are without its stars.
    empty_apertures : EmptyApertures
        The aperture's noise as measured on empty sky.
    neighbour_shares : NeighbourShares
        What the aperture gets of other stars.
    scintillation : float
        Relative scatter of each flux by the air; 0 where it is not known.
    psf : PsfPhotometry or None
        What `nightflow.sources.psf.crowding.with_psf` adds where it is wanted.
    warnings : tuple of str
        What a reader should know.
    """

    sources: SourceTable
    fwhm: float
    ellipticity: float
    sky: float
    sky_rms: float
    aperture_radius: float
    aperture_correction: ApertureCorrection
    profile: StellarProfile
    pixels: CleanPixels = field(repr=False)
    empty_apertures: EmptyApertures
    neighbour_shares: NeighbourShares = field(repr=False)
    scintillation: float = 0.0
    psf: PsfPhotometry | None = None
    warnings: tuple[str, ...] = ()

    @property
    def aperture_noise(self) -> float:
        """Noise of an aperture on empty sky, electrons before the aperture correction.

        As `empty_apertures` has it; where the frame has too little empty sky, that of the pixels, taken as
        independent of each other.
        """
        measured = self.empty_apertures.noise
        return (
            measured if np.isfinite(measured) else float(np.sqrt(np.pi) * self.aperture_radius * self.sky_rms)
        )


@dataclass(frozen=True)
class Found:
    """What was detected on a frame.

    Attributes
    ----------
    clean : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons, finite everywhere.
    unusable : ndarray of bool, shape (ny, nx)
        Pixels that carry no usable light.
    background : Background
    detections : Detections
    """

    clean: NDArray[np.float32]
    unusable: NDArray[np.bool_]
    background: Background
    detections: Detections


@dataclass(frozen=True)
class _Shapes:
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


@dataclass(frozen=True)
class Tools:
    """What measures pixels: `FAST`, or photutils (`nightflow.sources.reference`) by the same signatures."""

    background: Callable[..., Background]
    detect: Callable[..., Detections]
    apertures: Callable[..., ApertureFluxes]


FAST = Tools(measure_background, detect, measure_apertures)
"""sep and our kernels."""


def measure_frame(
    frame: Frame, detection: DetectionSettings, photometry: PhotometrySettings, tools: Tools = FAST
) -> MeasuredFrame:
    """Measure every source of a calibrated frame.

    Parameters
    ----------
    frame : Frame
        In electrons, with variance and flags.
    detection, photometry : DetectionSettings, PhotometrySettings
        Of the camera's profile.
    tools : Tools
        By which the pixels are measured.

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
    found = find(frame, detection, tools)
    shapes = _measure_shapes(found.clean, frame.flags, found.background, found.detections, photometry)
    return _measure_fluxes(frame, found, shapes, photometry, tools)


def find(frame: Frame, detection: DetectionSettings, tools: Tools = FAST) -> Found:
    """Take the background off and find what stands above it.

    Parameters
    ----------
    frame : Frame
        In electrons, with flags.
    detection : DetectionSettings
        Of the camera's profile.
    tools : Tools
        By which it is done.

    Raises
    ------
    FrameRejected
        The pixels hold no sky (constant, all bad, everything above the threshold).
    """
    assert frame.flags is not None
    unusable = (frame.flags & int(UNUSABLE)) > 0
    background = tools.background(frame.data, unusable, detection.box)
    # Saturated stars must be found whole, so that their rims are not taken for stars of their own.
    without_value = (frame.flags & int(UNUSABLE & ~Flag.SATURATED)) > 0
    clean, empty = fill_flagged(frame.data - background.level, without_value | ~np.isfinite(frame.data))
    detections = tools.detect(clean, background.rms, empty, detection)
    return Found(clean, unusable, background, detections)


def _pixel_noise(frame: Frame) -> float:
    """Return the noise of a pixel over the scatter of the data: above 1 for a luminance."""
    return 1 / CELL_NOISE if frame.header.bayer else 1.0


def _trusted_variance(
    frame: Frame, clean: NDArray[np.float32], background: Background
) -> NDArray[np.float32]:
    """Return the variance plane, or what stands in for it where the noise of the sky cannot be computed.

    It cannot without a gain or a read noise, or with the bias level still in the counts. It is measured
    instead, and only the sources' own photons are computed.
    """
    assert frame.variance is not None
    header = frame.header
    if header.gain_known and header.read_noise_known and not header.bias_included:
        return frame.variance
    return (np.float32(_pixel_noise(frame)) * background.rms) ** 2 + np.maximum(clean, np.float32(0))


def _luminance_frame(frame: Frame) -> Frame:
    """Return the mosaic's luminance, with the variance of single pixels (see `CELL_NOISE`)."""
    assert frame.variance is not None
    return frame.after(
        "luminance: mean over 2 x 2 cells of the colour mosaic",
        data=luminance(frame.data),
        variance=luminance(frame.variance),
    )


def _measure_shapes(
    clean: NDArray[np.float32],
    flags: NDArray[np.uint16],
    background: Background,
    detections: Detections,
    photometry: PhotometrySettings,
) -> _Shapes:
    half_light = _half_light_radius(clean, detections)
    ellipticity = 1 - detections.semi_minor / detections.semi_major
    signal_to_noise = detections.peak / background.median_rms
    isolated = (flags[_nearest_pixels(detections)] == 0) & ~detections.blended & np.isfinite(half_light)
    width = frame_fwhm(2 * half_light, signal_to_noise, isolated)
    x, y = _windowed_centroids(clean, detections, half_light, _or_expected(width, photometry))
    stars = isolated & (np.abs(2 * half_light / width - 1) < _STELLAR)
    bright = stars & (signal_to_noise > _BRIGHT)
    enough = np.count_nonzero(bright) >= FEWEST
    used, beta = (bright, None) if enough else (stars, SEEING_BETA)
    profile = stacked_profile(clean, x[used], y[used], detections.peak[used], width, beta)
    return _Shapes(
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


def _measure_fluxes(
    frame: Frame,
    found: Found,
    shapes: _Shapes,
    photometry: PhotometrySettings,
    tools: Tools,
) -> MeasuredFrame:
    assert frame.flags is not None
    clean, background, detections = found.clean, found.background, found.detections
    sky_mask = found.unusable | (detections.segments > 0)
    x, y, profile, noise = shapes.x, shapes.y, shapes.profile, _pixel_noise(frame)
    reach = _or_expected(profile.fwhm, photometry)
    radius, annulus = _radii(reach, photometry)
    # A cell of the luminance is centred half a pixel up and right of its first pixel.
    shift = 0.5 if frame.header.bayer else 0.0
    pixels = CleanPixels(
        data=clean,
        variance=_trusted_variance(frame, clean, background),
        sky_mask=sky_mask,
        flags=frame.flags,
        fwhm=reach,
        radius=radius,
        annulus=annulus,
        pixel_noise=noise,
        shift=shift,
        apertures=tools.apertures,
    )
    apertures, empty = pixels.fluxes(x, y), empty_apertures(pixels)
    aperture_err = empty.full_error(apertures.flux, apertures.flux_err)
    correction = aperture_correction(
        clean, sky_mask, x, y, shapes.bright, profile, radius, photometry.total_fwhm, faint=shapes.stars,
        sky_rms=background.median_rms,
    )  # fmt: skip
    twinkling = scintillation(frame.header, photometry)
    flux, flux_err = whole_flux(apertures.flux, aperture_err, correction, x, y, twinkling)
    bright = shapes.bright
    shares = neighbour_shares(pixels, profile, x[bright], y[bright], flux[bright])
    others = neighbour_light(shares, (x, y), aperture_err, np.arange(len(x)), (x, y), flux)
    flags = aperture_flags(frame.flags, x, y, radius)
    crowded = detections.blended | has_neighbours(apertures.flux, aperture_err, others)
    flags[crowded] |= np.uint16(Flag.NEIGHBOUR)
    # What neighbouring pixels share is smooth: it moves no centroid.
    centroid_err = _centroid_error(shapes.half_light, apertures.flux, apertures.flux_err)
    table = SourceTable(
        x=x + shift,
        y=y + shift,
        x_err=centroid_err,
        y_err=centroid_err.copy(),
        flux=flux,
        flux_err=flux_err,
        peak=detections.peak,
        background=background.level[_nearest_pixels(detections)] + apertures.background,
        fwhm=shapes.fwhm,
        ellipticity=shapes.ellipticity,
        theta=detections.theta,
        flags=flags,
    )
    return MeasuredFrame(
        sources=table,
        fwhm=profile.fwhm,
        ellipticity=shapes.median_ellipticity,
        sky=background.median_level,
        sky_rms=background.median_rms * noise,
        aperture_radius=radius,
        aperture_correction=correction,
        profile=profile,
        pixels=pixels,
        empty_apertures=empty,
        neighbour_shares=shares,
        scintillation=twinkling,
        warnings=tuple(filter(None, (correction.warning if len(table) else "", empty.warning))),
    )


def _nearest_pixels(detections: Detections) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the detections."""
    ny, nx = detections.segments.shape
    return _pixel(detections.y, ny), _pixel(detections.x, nx)


def _pixel(position: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    return np.clip(np.rint(position).astype(np.intp), 0, size - 1)


def _or_expected(fwhm: float, photometry: PhotometrySettings) -> float:
    """Return the FWHM, or what the smallest aperture was made for where no star tells."""
    return fwhm if np.isfinite(fwhm) else photometry.minimum_radius / photometry.aperture_fwhm


def _radii(fwhm: float, photometry: PhotometrySettings) -> tuple[float, tuple[float, float]]:
    """Return the aperture's radius and the annulus' two radii, all in pixels."""
    radius = max(photometry.minimum_radius, photometry.aperture_fwhm * fwhm)
    inner, outer = photometry.annulus_fwhm
    inner_radius = max(inner * fwhm, radius + 2)
    return radius, (inner_radius, max(outer * fwhm, inner_radius + 3))


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


def _centroid_error(
    half_light: NDArray[np.float64], flux: NDArray[np.float64], flux_err: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1-sigma error of each coordinate: sigma of the profile over the S/N (King 1983), at most 2 pixels."""
    sigma = np.nan_to_num(2 * half_light * _FWHM_TO_SIGMA, nan=1.5)
    signal_to_noise = np.maximum(flux, 0) / np.maximum(flux_err, 1e-9)
    return np.minimum(sigma / np.maximum(signal_to_noise, 1e-3), 2.0)
