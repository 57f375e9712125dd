"""From a clean frame to its sources: background, detection, centroids, apertures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.sources.aperture import aperture_flags
from nightflow.sources.aperture_correction import ApertureCorrection, aperture_correction
from nightflow.sources.background import Background
from nightflow.sources.clean_pixels import CleanPixels
from nightflow.sources.empty_apertures import EmptyApertures, empty_apertures
from nightflow.sources.find import FAST, Found, Tools, find
from nightflow.sources.luminance import CELL_NOISE, luminance
from nightflow.sources.neighbours import NeighbourShares, has_neighbours, neighbour_light, neighbour_shares
from nightflow.sources.psf.photometry import PsfPhotometry
from nightflow.sources.scintillation import scintillation
from nightflow.sources.shapes import Shapes, centroid_error, measure_shapes, nearest_pixels, or_expected
from nightflow.sources.stated_noise import noise_doubt
from nightflow.sources.stellar_profile import StellarProfile
from nightflow.sources.table import SourceTable
from nightflow.sources.whole_flux import whole_flux

__all__ = ["MeasuredFrame", "measure_frame"]


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
    shapes = measure_shapes(found.clean, frame.flags, found.background, found.detections, photometry)
    return _measure_fluxes(frame, found, shapes, photometry, tools)


def _pixel_noise(frame: Frame) -> float:
    """Return the noise of a pixel over the scatter of the data: above 1 for a luminance."""
    return 1 / CELL_NOISE if frame.header.bayer else 1.0


def _is_noise_stated(frame: Frame) -> bool:
    header = frame.header
    return header.gain_known and header.read_noise_known and not header.bias_included


def _trusted_variance(
    frame: Frame, clean: NDArray[np.float32], background: Background
) -> NDArray[np.float32]:
    """Return the variance plane, or what stands in for it where the noise of the sky cannot be computed.

    It cannot without a gain or a read noise, or with the bias level still in the counts. It is measured
    instead, and only the sources' own photons are computed.
    """
    assert frame.variance is not None
    if _is_noise_stated(frame):
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


def _measure_fluxes(
    frame: Frame,
    found: Found,
    shapes: Shapes,
    photometry: PhotometrySettings,
    tools: Tools,
) -> MeasuredFrame:
    assert frame.flags is not None
    clean, background, detections = found.clean, found.background, found.detections
    sky_mask = found.unusable | (detections.segments > 0)
    x, y, profile, noise = shapes.x, shapes.y, shapes.profile, _pixel_noise(frame)
    reach = or_expected(profile.fwhm, photometry)
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
    flags[has_neighbours(apertures.flux, aperture_err, others)] |= np.uint16(Flag.NEIGHBOUR)
    # What neighbouring pixels share is smooth: it moves no centroid.
    centroid_err = centroid_error(shapes.half_light, apertures.flux, apertures.flux_err)
    table = SourceTable(
        x=x + shift,
        y=y + shift,
        x_err=centroid_err,
        y_err=centroid_err.copy(),
        flux=flux,
        flux_err=flux_err,
        peak=detections.peak,
        background=background.level[nearest_pixels(detections)] + apertures.background,
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
        warnings=tuple(filter(None, (
            correction.warning if len(table) else "",
            empty.warning,
            noise_doubt(pixels.variance, ~sky_mask, background.median_rms * noise)
            if _is_noise_stated(frame) else "",
        ))),
    )  # fmt: skip


def _radii(fwhm: float, photometry: PhotometrySettings) -> tuple[float, tuple[float, float]]:
    """Return the aperture's radius and the annulus' two radii, all in pixels."""
    radius = max(photometry.minimum_radius, photometry.aperture_fwhm * fwhm)
    inner, outer = photometry.annulus_fwhm
    inner_radius = max(inner * fwhm, radius + 2)
    return radius, (inner_radius, max(outer * fwhm, inner_radius + 3))
