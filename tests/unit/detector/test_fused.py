"""The fused pass gives what the steps give one after another: pixels, variance, flags, history, errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.detector.chain import calibrate
from nightflow.detector.fused import calibrate_fused, can_be_fused
from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.errors import MissingCalibration
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from tests.unit.detector.frames import make_frame, make_master, make_profile

RAW = (70, 90)
STRIPS = {
    "right": ((slice(0, 70), slice(80, 90)), (slice(0, 70), slice(0, 80))),
    "left": ((slice(0, 70), slice(0, 8)), (slice(2, 66), slice(8, 90))),
    "top": ((slice(60, 70), slice(0, 90)), (slice(0, 60), slice(0, 90))),
}


def raw_frame(strip: str = "right", seed: int = 3, **changes: Any) -> Frame:
    """Counts of a light frame with saturated pixels, a bleed, and a level that drifts along the strip."""
    rng = np.random.default_rng(seed)
    data = rng.normal(1500, 12, RAW)
    data += np.linspace(0, 9, RAW[0])[:, None] if strip != "top" else np.linspace(0, 9, RAW[1])[None, :]
    overscan, trim = STRIPS[strip]
    data[overscan] -= 500
    data[20:26, 40] = data[30, 50] = 65000
    values = {"overscan": overscan, "trim": trim, "pedestal": 3.0, "gain": 1.7, "read_noise": 6.0}
    return make_frame(np.rint(data), **{**values, **changes})


def master(kind: str, shape: tuple[int, int], seed: int, **changes: Any) -> MasterFrame:
    rng = np.random.default_rng(seed)
    center, spread, error = {"bias": (5, 2, 0.7), "dark": (20, 3, 0.6), "flat": (1, 0.05, 0.004)}[kind]
    data = rng.normal(center, spread, shape)
    data[3, 4] = data[5, 6] = 0.05 if kind == "flat" else center * 40
    flags = np.zeros(shape, np.uint16)
    flags[7, 8] = Flag.BAD
    return make_master(kind, data, error, flags, **changes)


def masters_for(frame: Frame, kinds: tuple[str, ...] = ("bias", "dark", "flat")) -> MasterSet:
    trim = frame.header.trim
    shape = frame.data.shape if trim is None else frame.data[trim].shape
    return MasterSet.of({kind: master(kind, shape, number) for number, kind in enumerate(kinds, start=10)})


def profile_with(**calibration: Any) -> CameraProfile:
    sections = {"overscan": "row_median", **calibration}
    return make_profile(
        calibration=sections, detector={"bad_pixel_regions": ["[10:12,5:9]"]}, trails={"enabled": False}
    )


def assert_equal(fused: Frame, steps: Frame) -> None:
    assert fused.history == steps.history
    assert fused.warnings == steps.warnings
    assert fused.header == steps.header
    assert fused.unit == steps.unit
    np.testing.assert_allclose(fused.data, steps.data, rtol=2e-6, atol=2e-3)
    np.testing.assert_allclose(fused.variance, steps.variance, rtol=5e-6)
    np.testing.assert_array_equal(fused.flags, steps.flags)


@pytest.mark.parametrize("strip", STRIPS)
@pytest.mark.parametrize("kinds", [("bias", "dark", "flat"), ("bias", "flat"), ("bias", "dark"), ("bias",)])
@pytest.mark.parametrize("overscan", ["row_median", "median", "polynomial", "spline", "off"])
def test_every_combination_of_masters_strips_and_modes(
    strip: str, kinds: tuple[str, ...], overscan: str
) -> None:
    frame, profile = raw_frame(strip), profile_with(overscan=overscan)
    masters = masters_for(frame, kinds)
    assert can_be_fused(frame, profile, masters)
    assert_equal(calibrate(frame, profile, masters), calibrate(frame, profile, masters, "steps"))


@pytest.mark.parametrize(
    "changes",
    [
        {"pedestal": 0.0},
        {"trim": None, "overscan": None},
        {"gain_known": False},
        {"exptime": 61.0},
        {"saturation": 1400.0},
    ],
)
def test_headers_of_all_kinds(changes: dict[str, Any]) -> None:
    frame = raw_frame(**changes)
    overscan = "row_median" if frame.header.overscan else "off"
    profile = profile_with(overscan=overscan)
    masters = masters_for(frame)
    assert_equal(calibrate(frame, profile, masters), calibrate(frame, profile, masters, "steps"))


def test_a_scaled_dark() -> None:
    frame, profile = raw_frame(exptime=150.0), profile_with(dark_scaling="scaled")
    masters = masters_for(frame)
    fused = calibrate(frame, profile, masters)
    assert any("times 2.5 subtracted" in line for line in fused.history)
    assert_equal(fused, calibrate(frame, profile, masters, "steps"))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 60), st.floats(0, 30), st.sampled_from(list(STRIPS)))
def test_any_gain_and_noise(seed: int, gain: float, read_noise: float, strip: str) -> None:
    frame, profile = raw_frame(strip, seed, gain=gain, read_noise=read_noise), profile_with()
    masters = masters_for(frame)
    assert_equal(calibrate(frame, profile, masters), calibrate(frame, profile, masters, "steps"))


def test_a_pixel_that_is_not_finite_goes_step_by_step() -> None:
    frame, profile = raw_frame(), profile_with()
    data = frame.data.copy()
    data[12, 13] = np.nan
    frame = replace(frame, data=data)
    masters = masters_for(frame)
    assert calibrate_fused(frame, profile, masters) is None
    result = calibrate(frame, profile, masters)
    assert_equal(result, calibrate(frame, profile, masters, "steps"))
    assert "bad_pixels: 1 not finite" in result.history


@pytest.mark.parametrize(
    "frame_changes",
    [{"bias_included": False}, {"steps_done": ("bias", "dark")}],
)
def test_what_the_camera_did_already_goes_step_by_step(frame_changes: dict[str, Any]) -> None:
    frame, profile = raw_frame(**frame_changes), profile_with()
    assert not can_be_fused(frame, profile, masters_for(frame))


def test_a_dark_with_its_bias_no_bias_and_curves_go_step_by_step() -> None:
    frame, profile = raw_frame(), profile_with()
    masters = masters_for(frame)
    assert not can_be_fused(frame, profile, replace(masters, bias=None))
    biased = master("dark", masters.bias.data.shape, 1, bias_included=True)  # type: ignore[union-attr]
    assert not can_be_fused(frame, profile, replace(masters, dark=biased))
    curve = {"all": {"polynomial": [1.0, 1e-7], "maximum": 6e4}}
    linear = profile.model_copy(
        update={"detector": type(profile.detector)(linearity=curve)}  # the rest as by default
    )
    assert not can_be_fused(frame, linear, masters)
    assert not can_be_fused(frame, profile_with(illumination="optional"), masters)
    assert not can_be_fused(frame, profile_with(bias="off"), masters)


def test_errors_are_those_of_the_steps() -> None:
    frame, profile = raw_frame(exptime=100.0), profile_with()
    masters = masters_for(frame)
    for engine in ("fast", "steps"):
        with pytest.raises(MissingCalibration, match="does not match an exposure of 100 s"):
            calibrate(frame, profile, masters, engine)
    wrong = replace(masters, flat=master("flat", (9, 9), 1))
    for engine in ("fast", "steps"):
        with pytest.raises(ValueError, match="has pixels of"):
            calibrate(raw_frame(), profile, wrong, engine)
    trimmed = replace(frame, data=frame.data[:40])
    with pytest.raises(ValueError, match="untrimmed"):
        calibrate(trimmed, profile, masters)


def test_the_raw_frame_stays_as_it_is() -> None:
    frame = raw_frame()
    before = frame.data.copy()
    calibrate(frame, profile_with(), masters_for(frame))
    np.testing.assert_array_equal(frame.data, before)
    assert frame.header.kind is FrameKind.LIGHT
