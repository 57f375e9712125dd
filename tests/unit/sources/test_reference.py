"""The two engines measure the same stars: sep and our kernels, and photutils."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from scipy.spatial import cKDTree

from nightflow.errors import FrameRejected
from nightflow.frame import Frame
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.sources.measure import measure_frame
from nightflow.sources.reference import PHOTUTILS, detect, measure_apertures, measure_background
from tests.unit.detector.frames import make_header

SIDE, SKY, SIGMA = 400, 200.0, 1.3


def field(n_stars: int = 120) -> Frame:
    """Stars of 500 to 200,000 electrons on a sky with a slope, noise that is all Poisson's."""
    rng = np.random.default_rng(12)
    y, x = np.indices((SIDE, SIDE), np.float64)
    image = SKY * (1 + 0.1 * x / SIDE)
    for _ in range(n_stars):
        star_x, star_y = rng.uniform(10, SIDE - 10, 2)
        near = (slice(int(star_y) - 9, int(star_y) + 10), slice(int(star_x) - 9, int(star_x) + 10))
        profile = np.exp(-((x[near] - star_x) ** 2 + (y[near] - star_y) ** 2) / (2 * SIGMA**2))
        image[near] += 10 ** rng.uniform(2.7, 5.3) * profile / (2 * np.pi * SIGMA**2)
    data = rng.poisson(image).astype(np.float32)
    return Frame(
        data=data,
        unit="electron",
        header=make_header(shape=data.shape, bias_included=False),
        raw_header=fits.Header(),
        variance=image.astype(np.float32),
        flags=np.zeros(data.shape, np.uint16),
    )


def test_both_engines_agree_within_noise() -> None:
    frame, detection, photometry = field(), DetectionSettings(), PhotometrySettings()
    fast = measure_frame(frame, detection, photometry)
    reference = measure_frame(frame, detection, photometry, PHOTUTILS)
    ours, theirs = fast.sources, reference.sources
    distance, match = cKDTree(np.c_[theirs.x, theirs.y]).query(np.c_[ours.x, ours.y])
    same = distance < 0.5
    assert np.mean(same) > 0.97, (
        f"{np.count_nonzero(same)} of {len(same)} in both, {len(theirs)} in photutils"
    )
    assert np.median(distance[same]) < 0.01
    assert fast.fwhm == pytest.approx(reference.fwhm, rel=0.01)
    assert fast.sky == pytest.approx(reference.sky, abs=0.5)
    assert fast.sky_rms == pytest.approx(reference.sky_rms, rel=0.02)
    pulls = (ours.flux[same] - theirs.flux[match[same]]) / ours.flux_err[same]
    assert abs(np.median(pulls)) < 0.2, (
        f"fluxes differ by {np.median(pulls):.2f} of their error in the median"
    )
    errors = ours.flux_err[same] / theirs.flux_err[match[same]]
    assert np.median(errors) == pytest.approx(1, abs=0.02)


def test_no_star_is_an_empty_list() -> None:
    data = np.random.default_rng(1).normal(0, 5, (200, 200)).astype(np.float32)
    found = detect(data, np.full_like(data, 5), np.zeros(data.shape, bool), DetectionSettings(threshold=20.0))
    assert len(found) == 0
    assert (
        measure_apertures(data, data**2, data > 99, np.empty(0), np.empty(0), 3.0, (6.0, 9.0)).flux.size == 0
    )


@pytest.mark.parametrize("mask", [False, True])
def test_no_sky_is_refused_as_by_the_fast_engine(mask: bool) -> None:
    constant = np.full((128, 128), 7, np.float32)
    with pytest.raises(FrameRejected, match="no usable pixel" if mask else "no noise"):
        measure_background(constant, np.full(constant.shape, mask))
