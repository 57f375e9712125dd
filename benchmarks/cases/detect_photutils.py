"""Background, detection, centroids and apertures of one frame: our sep path and photutils."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from astropy.convolution import convolve
from astropy.stats import SigmaClip
from numpy.typing import NDArray
from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture, aperture_photometry
from photutils.background import Background2D
from photutils.segmentation import SourceCatalog, SourceFinder, make_2dgaussian_kernel

from benchmarks import peers
from benchmarks.cases.detect import cleaned, equivalent_threshold, our_list
from benchmarks.cases.source_lists import SourceList, compare
from benchmarks.harness import Case, Side
from benchmarks.workshop import Workshop
from nightflow.flags import UNUSABLE
from nightflow.instruments.profile import CameraProfile, DetectionSettings
from nightflow.sources.measure import measure_frame

__all__ = ["detect_photutils_case", "photutils_sources", "radii_of"]


@contextmanager
def detect_photutils_case(workshop: Workshop) -> Iterator[Case]:
    """A calibrated frame in memory on both sides."""
    frame, profile = workshop.calibrated, workshop.profile
    assert frame.variance is not None
    assert frame.flags is not None
    shape = (frame.data.shape[0], frame.data.shape[1])
    image, error = cleaned(frame), np.sqrt(frame.variance)
    unusable = (frame.flags & int(UNUSABLE)) != 0
    radii = radii_of(profile, workshop.measured.fwhm)
    yield Case(
        ours=Side(run=lambda: measure_frame(frame, profile.detection, profile.photometry)),
        peer=Side(run=lambda: photutils_sources(image, error, unusable, profile.detection, radii)),
        peer_name=(
            f"{peers.name('photutils')}: Background2D, SourceFinder, SourceCatalog (centroids by moments), "
            "apertures with a clipped annulus"
        ),
        agree=lambda ours, theirs: compare(our_list(ours), theirs, shape, place_limit=0.1),
    )


def radii_of(profile: CameraProfile, fwhm: float) -> tuple[float, float, float]:
    """Return radius of the aperture, inner and outer radius of the annulus, as ours are: pixels."""
    photometry = profile.photometry
    radius = max(photometry.minimum_radius, photometry.aperture_fwhm * fwhm)
    inner, outer = photometry.annulus_fwhm
    return radius, inner * fwhm, outer * fwhm


def photutils_sources(
    image: NDArray[np.float32],
    error: NDArray[np.float32],
    unusable: NDArray[np.bool_],
    detection: DetectionSettings,
    radii: tuple[float, float, float],
) -> SourceList:
    """Return the sources of an image, by photutils alone."""
    background = Background2D(
        image, detection.box, mask=unusable, filter_size=peers.PHOTUTILS_BACKGROUND_FILTER
    )
    clean = image - background.background
    size = 2 * int(np.ceil(detection.expected_fwhm)) + 1
    convolved = convolve(clean, make_2dgaussian_kernel(detection.expected_fwhm, size=size))
    finder = SourceFinder(
        n_pixels=detection.minimum_area,
        n_levels=detection.deblend_levels,
        contrast=detection.deblend_contrast,
        n_processes=peers.PHOTUTILS_PROCESSES,
        **peers.PHOTUTILS_DEBLEND,
    )
    segments = finder(convolved, equivalent_threshold(detection) * background.background_rms)
    catalog = SourceCatalog(clean, segments, convolved_data=convolved, error=error)
    places = np.column_stack([catalog.x_centroid, catalog.y_centroid])
    flux, flux_err = _photometry(clean, error, unusable | (segments.data > 0), places, radii)
    return SourceList(x=places[:, 0], y=places[:, 1], flux=flux, flux_err=flux_err)


def _photometry(
    clean: NDArray[np.float32],
    error: NDArray[np.float32],
    no_sky: NDArray[np.bool_],
    places: NDArray[np.float64],
    radii: tuple[float, float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    radius, inner, outer = radii
    sums = aperture_photometry(clean, CircularAperture(places, radius), error=error)
    ring = CircularAnnulus(places, inner, outer)
    sky = ApertureStats(clean, ring, mask=no_sky, sigma_clip=SigmaClip(sigma=3.0), sum_method="center").mean
    flux = np.asarray(sums["aperture_sum"]) - np.pi * radius**2 * np.nan_to_num(np.asarray(sky))
    return flux, np.asarray(sums["aperture_sum_err"])
