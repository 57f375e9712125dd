"""The measurements of the engine ``reference``: photutils (Bradley et al.) in place of sep and our kernels.

The same questions with the same settings, answered by an independent program: an oracle for the fast
engine. Half-light radii and windowed centroids have no counterpart of equal definition there: they stay with
sep.
"""

from __future__ import annotations

import warnings

import numpy as np
from astropy.convolution import convolve
from astropy.stats import SigmaClip
from numpy.typing import NDArray
from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture, aperture_photometry
from photutils.background import Background2D
from photutils.segmentation import SourceCatalog, SourceFinder
from photutils.utils.exceptions import NoDetectionsWarning

from nightflow.errors import FrameRejected
from nightflow.instruments.profile import DetectionSettings
from nightflow.sources.aperture import ApertureFluxes
from nightflow.sources.background import Background, box_that_fits
from nightflow.sources.detection import Detections, convolution_threshold, is_thin, matched_filter
from nightflow.sources.find import Tools

__all__ = ["PHOTUTILS", "detect", "measure_apertures", "measure_background"]

_CLIP = SigmaClip(sigma=3.0)
_FEWEST_PIXELS = 12


def measure_background(
    data: NDArray[np.float32], mask: NDArray[np.bool_], box: int = 64, filter_size: int = 3
) -> Background:
    """Measure the background on a mesh; see `nightflow.sources.background.measure_background`.

    Raises
    ------
    FrameRejected
        The frame has no noise, or too few usable pixels.
    """
    if mask.all():
        raise FrameRejected("no usable pixel: every pixel is flagged bad, saturated or hit")
    side = box_that_fits((data.shape[0], data.shape[1]), box)
    try:
        mesh = Background2D(data, side, mask=mask, filter_size=filter_size, exclude_percentile=90.0)
    except ValueError as error:
        raise FrameRejected(f"no box of the background mesh has enough usable pixels: {error}") from error
    rms = np.asarray(mesh.background_rms, np.float32)
    if not rms.max() > 0:
        raise FrameRejected("the sky has no noise: the pixels are constant, this is no exposure")
    median_rms = float(mesh.background_rms_median)
    np.maximum(rms, np.float32(0.1 * median_rms), out=rms)
    return Background(np.asarray(mesh.background, np.float32), rms, float(mesh.background_median), median_rms)


def detect(
    data: NDArray[np.float32],
    rms: NDArray[np.float32],
    mask: NDArray[np.bool_],
    settings: DetectionSettings,
) -> Detections:
    """Find sources by segmentation of the convolved image; see `nightflow.sources.detection.detect`."""
    kernel = matched_filter(settings.expected_fwhm)
    convolved = convolve(np.where(mask, 0, data), kernel, normalize_kernel=True)
    finder = SourceFinder(
        n_pixels=settings.minimum_area,
        n_levels=settings.deblend_levels,
        contrast=settings.deblend_contrast,
        mode="exponential",
        progress_bar=False,
    )
    with warnings.catch_warnings():
        # An empty list says as much.
        warnings.simplefilter("ignore", NoDetectionsWarning)
        segments = finder(convolved, convolution_threshold(settings, kernel) * rms, mask=mask)
    if segments is None:
        none = np.empty(0)
        return Detections(
            none, none, none, none, none, none, none.astype(bool), np.zeros(data.shape, np.int32)
        )
    catalog = SourceCatalog(data, segments, convolved_data=convolved)
    semi_major, semi_minor = (
        np.asarray(axis.value, np.float64) for axis in (catalog.semimajor_axis, catalog.semiminor_axis)
    )
    kept = ~is_thin(semi_major, semi_minor)
    return Detections(
        np.asarray(catalog.x_centroid)[kept],
        np.asarray(catalog.y_centroid)[kept],
        semi_major[kept],
        semi_minor[kept],
        np.radians(np.asarray(catalog.orientation.value, np.float64))[kept],
        np.asarray(catalog.max_value, np.float64)[kept],
        np.isin(catalog.labels, segments.deblended_labels)[kept],
        np.asarray(segments.data, np.int32),
    )


def measure_apertures(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    sky_mask: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    radius: float,
    annulus: tuple[float, float],
    pixel_noise: float = 1.0,
) -> ApertureFluxes:
    """Sum the pixels of a circle, take off the local background; see `nightflow.sources.aperture`."""
    if len(x) == 0:
        return ApertureFluxes(*(np.empty(0) for _ in range(3)))
    places = np.column_stack([x, y])
    sums = aperture_photometry(data, CircularAperture(places, radius), error=np.sqrt(variance))
    level, level_err = _local_background(data, sky_mask, places, annulus)
    area = np.pi * radius**2
    flux_err = np.hypot(np.asarray(sums["aperture_sum_err"]), pixel_noise * area * np.nan_to_num(level_err))
    return ApertureFluxes(np.asarray(sums["aperture_sum"]) - area * level, flux_err, level)


def _local_background(
    data: NDArray[np.float32],
    mask: NDArray[np.bool_],
    places: NDArray[np.float64],
    annulus: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the clipped mean of each ring and its error; 0 and NaN where too few pixels are left."""
    ring = ApertureStats(
        data, CircularAnnulus(places, *annulus), mask=mask, sigma_clip=_CLIP, sum_method="center"
    )
    count = np.nan_to_num(np.atleast_1d(np.asarray(ring.center_aper_area.value)))
    enough = count >= _FEWEST_PIXELS
    error = np.atleast_1d(np.asarray(ring.std)) / np.sqrt(np.maximum(count - 1, 1))
    level = np.atleast_1d(np.asarray(ring.mean))
    return np.where(enough, level, 0.0), np.where(enough, error, np.nan)


PHOTUTILS = Tools(measure_background, detect, measure_apertures)
"""For `nightflow.sources.measure.measure_frame`."""
