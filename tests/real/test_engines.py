"""Both engines on real frames: the same pixels and errors after each step, the same stars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from nightflow.detector.chain import STEPS, MasterSet, calibrate
from nightflow.detector.reference import by_ccdproc
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.sources.measure import measure_frame
from nightflow.sources.reference import PHOTUTILS
from tests.real.test_calibration import Night, load
from tests.real.test_synthetic_calibration import Camera, masters_of, prepared

pytestmark = pytest.mark.real

FRAMES = {"nickel_2024-05-12": "d1083.fits.gz", "lowell_subset": "20190326.0161.fits.gz"}
DARK_CAMERA = "mit_2018-10-12"
"""Its frames have a bias and a dark and no flat."""
CALIBRATED = "hatp32_subset"
"""Its frames come calibrated: a camera's faults are put into one of them."""


@dataclass
class Exposure:
    """A raw light with its masters."""

    raw: Frame
    profile: CameraProfile
    masters: MasterSet


@pytest.fixture(scope="module", params=[*FRAMES, DARK_CAMERA, CALIBRATED])
def exposure(shared_data: Path, request: pytest.FixtureRequest) -> Exposure:
    if request.param == CALIBRATED:
        return _with_faults(load(shared_data / CALIBRATED, "*0133*.gz"))
    night = load(shared_data / request.param)
    if request.param == DARK_CAMERA:
        return _with_dark(night)
    light = night.frames[FRAMES[request.param]]
    bias = night.master(FrameKind.BIAS, light)
    flat = night.master(FrameKind.FLAT, light, MasterSet(bias=bias))
    return Exposure(light, night.profile, MasterSet(bias=bias, flat=flat))


def _with_dark(night: Night) -> Exposure:
    light = next(iter(night.of_kind(FrameKind.LIGHT).values()))
    bias = night.master(FrameKind.BIAS, light)
    dark = night.master(FrameKind.DARK, light, MasterSet(bias=bias))
    return Exposure(light, night.profile, MasterSet(bias=bias, dark=dark))


def _with_faults(night: Night) -> Exposure:
    (frame,) = night.frames.values()
    settings = night.profile.calibration.model_copy(
        update={"overscan": "off", "bias": "required", "dark": "required", "flat": "required"}
    )
    profile = night.profile.model_copy(update={"calibration": settings})
    frame = prepared(frame)
    camera = Camera(frame.data.shape)
    return Exposure(camera.through(frame), profile, masters_of(camera, frame, profile))


def test_pixels_and_errors_agree_after_each_step(exposure: Exposure) -> None:
    frame, compared = exposure.raw, 0
    for step in STEPS:
        if FrameKind.LIGHT not in step.kinds:
            continue
        ours = step.apply(frame, exposure.profile, exposure.masters)
        theirs = by_ccdproc(step.name, frame, ours, exposure.profile, exposure.masters)
        compared += theirs is not ours
        np.testing.assert_allclose(theirs.data, ours.data, rtol=2e-5, atol=5e-3, err_msg=step.name)
        if ours.variance is not None:
            np.testing.assert_allclose(theirs.variance, ours.variance, rtol=2e-4, err_msg=step.name)
        frame = ours
    assert compared >= 4


def test_whole_frames_and_their_stars_agree_within_noise(exposure: Exposure) -> None:
    fast, reference = (
        calibrate(exposure.raw, exposure.profile, exposure.masters, engine)
        for engine in ("fast", "reference")
    )
    assert fast.variance is not None
    assert reference.flags is not None
    off = np.abs(fast.data - reference.data) / np.sqrt(fast.variance)
    assert off.max() < 1e-2, f"pixels differ by up to {off.max():.2g} of their error"
    assert np.mean(fast.flags != reference.flags) <= 1e-4
    settings = exposure.profile.detection, exposure.profile.photometry
    ours = measure_frame(fast, *settings)
    theirs = measure_frame(reference, *settings, PHOTUTILS)
    stars = (ours.sources.flags == 0) & (ours.sources.flux > 20 * ours.sources.flux_err)
    places = np.c_[ours.sources.x, ours.sources.y][stars]
    distance, match = cKDTree(np.c_[theirs.sources.x, theirs.sources.y]).query(places)
    same = distance < 0.5
    assert np.mean(same) > 0.95, f"{np.count_nonzero(same)} of {len(same)} stars in both"
    difference = ours.sources.flux[stars][same] - theirs.sources.flux[match[same]]
    pulls = difference / ours.sources.flux_err[stars][same]
    assert abs(np.median(pulls)) < 0.3, (
        f"fluxes differ by {np.median(pulls):.2f} of their error in the median"
    )
    assert np.percentile(np.abs(pulls), 68) < 1
    assert ours.fwhm == pytest.approx(theirs.fwhm, rel=0.05)
