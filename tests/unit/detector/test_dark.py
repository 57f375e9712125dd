import numpy as np
import pytest

from nightflow.detector.dark import exposure_scale, subtract_dark
from nightflow.errors import MissingCalibration
from tests.unit.detector.frames import make_frame, make_master

BIAS, CURRENT = 1000.0, 30.0
"""ADU, and ADU in 60 s."""


def light(exptime: float, *, bias_included: bool):
    level = 500 + CURRENT * exptime / 60 + (BIAS if bias_included else 0)
    return make_frame(np.full((4, 4), level), exptime=exptime, bias_included=bias_included)


def dark(exptime: float, *, bias_included: bool, uncertainty: float = 0.0):
    level = CURRENT * exptime / 60 + (BIAS if bias_included else 0)
    return make_master(
        "dark", np.full((4, 4), level), uncertainty, exptime=exptime, bias_included=bias_included
    )


MASTER_BIAS = make_master("bias", np.full((4, 4), BIAS))


@pytest.mark.parametrize("exptime", [60.0, 180.0, 6.0])
@pytest.mark.parametrize(("bias_in_light", "bias_in_dark"), [(False, False), (False, True), (True, True)])
def test_dark_and_what_bias_there_is_are_gone(
    exptime: float, bias_in_light: bool, bias_in_dark: bool
) -> None:
    frame = subtract_dark(
        light(exptime, bias_included=bias_in_light),
        dark(60, bias_included=bias_in_dark),
        MASTER_BIAS,
        scaling="scaled",
    )
    np.testing.assert_allclose(frame.data, 500, rtol=1e-6)
    assert not frame.header.bias_included


def test_a_dark_without_bias_leaves_the_frames_own() -> None:
    frame = subtract_dark(light(60, bias_included=True), dark(60, bias_included=False))
    np.testing.assert_allclose(frame.data, 500 + BIAS)
    assert frame.header.bias_included


def test_a_matched_dark_takes_the_bias_with_it_without_a_master_bias() -> None:
    frame = subtract_dark(light(60, bias_included=True), dark(60, bias_included=True))
    np.testing.assert_allclose(frame.data, 500)
    assert "bias with it" in frame.history[-1]


@pytest.mark.parametrize(("exptime", "in_light"), [(60.0, False), (120.0, True)])
def test_a_bias_that_cannot_be_told_apart_is_missing(exptime: float, in_light: bool) -> None:
    with pytest.raises(MissingCalibration, match="still holds its bias"):
        subtract_dark(light(exptime, bias_included=in_light), dark(60, bias_included=True), scaling="scaled")


def test_the_darks_variance_grows_with_the_square_of_the_scale() -> None:
    frame = light(180, bias_included=False).after("v", variance=np.full((4, 4), 10, np.float32))
    after = subtract_dark(frame, dark(60, bias_included=False, uncertainty=2.0), scaling="scaled")
    np.testing.assert_allclose(after.variance, 10 + 9 * 4)


def test_a_matched_dark_is_not_scaled_within_the_tolerance() -> None:
    assert exposure_scale(60.5, 60, "exposure_matched", 0.02) == 1
    assert exposure_scale(60.5, 60, "scaled", 0.02) == pytest.approx(60.5 / 60)
    assert exposure_scale(0, 0, "exposure_matched", 0.02) == 1


def test_an_unmatched_dark_is_named_with_both_exposures() -> None:
    with pytest.raises(MissingCalibration, match=r"a dark of 60 s does not match an exposure of 180 s"):
        exposure_scale(180, 60, "exposure_matched", 0.02)
    with pytest.raises(MissingCalibration, match="cannot be scaled"):
        exposure_scale(180, 0, "scaled", 0.02)


@pytest.mark.parametrize("exptime", [20.0, 60.0, 300.0])
def test_amplifier_glow_goes_with_the_exposure(exptime: float) -> None:
    """The glow of a corner grows with time as dark current does, and is scaled with it."""
    y, x = np.indices((40, 50))
    rate = 0.1 + 20 * np.exp(-np.hypot(x, y) / 8)
    frame = make_frame(500 + rate * exptime, exptime=exptime, bias_included=False)
    master = make_master("dark", rate * 60, exptime=60.0)
    done = subtract_dark(frame, master, scaling="scaled")
    np.testing.assert_allclose(done.data, 500, atol=1e-2)


def test_a_dark_may_be_a_rate() -> None:
    """A master of 1 second is counts per second."""
    frame = make_frame(np.full((4, 4), 500 + 0.5 * 180), exptime=180.0, bias_included=False)
    rate = make_master("dark", np.full((4, 4), 0.5), 0.01, exptime=1.0)
    done = subtract_dark(frame.after("v", variance=np.zeros((4, 4), np.float32)), rate, scaling="scaled")
    np.testing.assert_allclose(done.data, 500, rtol=1e-6)
    np.testing.assert_allclose(done.variance, 1.8**2, rtol=1e-5)
