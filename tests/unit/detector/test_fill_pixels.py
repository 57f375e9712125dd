import numpy as np
import pytest
from astropy.convolution import Gaussian2DKernel, interpolate_replace_nans

from nightflow.detector.fill_pixels import fill_pixels
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import BadPixelSettings
from tests.unit.detector.frames import make_frame


def frame_with(flags: dict[tuple[int, int], int], shape: tuple[int, int] = (30, 40)) -> Frame:
    rng = np.random.default_rng(5)
    y, x = np.indices(shape)
    data = (100 + 2 * x + y + rng.normal(0, 3, shape)).astype(np.float32)
    plane = np.zeros(shape, np.uint16)
    for place, flag in flags.items():
        plane[place] = flag
        data[place] = 1e6
    frame = make_frame(data, unit="electron")
    return frame.after("set", flags=plane, variance=np.full(shape, 9, np.float32))


HOLES = {(10, 12): Flag.HOT, (10, 13): Flag.BAD, (11, 12): Flag.DEAD, (0, 0): Flag.BAD, (29, 20): Flag.HOT}


@pytest.mark.parametrize("sigma", [0.8, 1.0, 2.3])
def test_a_gaussian_fills_as_astropy_does(sigma: float) -> None:
    frame = frame_with({**HOLES, (20, 20): Flag.SATURATED})
    filled = fill_pixels(frame, BadPixelSettings(fill="gaussian", fill_sigma=sigma))
    with_holes = np.where(frame.flags != 0, np.nan, frame.data).astype(float)
    expected = interpolate_replace_nans(
        with_holes, Gaussian2DKernel(sigma), boundary="fill", fill_value=np.nan
    )
    expected[20, 20] = frame.data[20, 20]
    np.testing.assert_allclose(filled.data, expected, rtol=1e-6)


def test_a_median_is_that_of_the_good_pixels_around() -> None:
    frame = frame_with(HOLES)
    filled = fill_pixels(frame, BadPixelSettings(fill="median"))
    around = frame.data[8:13, 10:15][frame.flags[8:13, 10:15] == 0]
    assert len(around) == 22
    assert filled.data[10, 12] == pytest.approx(np.median(around))
    corner = frame.data[:3, :3].ravel()[1:]
    assert filled.data[0, 0] == pytest.approx(np.median(corner))


def test_flags_survive_and_the_input_does_not_change() -> None:
    frame = frame_with(HOLES)
    before = frame.data.copy(), frame.flags.copy(), frame.variance.copy()
    filled = fill_pixels(frame, BadPixelSettings(fill="median"))
    for place, flag in HOLES.items():
        assert filled.flags[place] == flag | Flag.INTERPOLATED
    assert np.count_nonzero(filled.flags) == len(HOLES)
    for array, old in zip((frame.data, frame.flags, frame.variance), before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert "5 pixels by median, 0 left" in filled.history[-1]


def test_saturated_cores_hits_and_trails_are_not_made_up() -> None:
    others = [Flag.SATURATED, Flag.COSMIC_RAY, Flag.TRAIL, Flag.WARM, Flag.PERSISTENCE]
    frame = frame_with({(5, 5 + 3 * n): flag for n, flag in enumerate(others)})
    assert fill_pixels(frame, BadPixelSettings(fill="median")) is frame


def test_a_pixel_without_enough_good_neighbours_stays_as_it_is() -> None:
    block = {(y, x): Flag.BAD for y in range(10, 16) for x in range(10, 16)}
    frame = frame_with(block)
    filled = fill_pixels(frame, BadPixelSettings(fill="median", fill_radius=2))
    assert filled.flags[12, 12] == Flag.BAD
    assert filled.data[12, 12] == np.float32(1e6)
    assert filled.flags[10, 10] == Flag.BAD | Flag.INTERPOLATED
    strict = fill_pixels(frame, BadPixelSettings(fill="median", fill_minimum=17))
    assert strict.flags[10, 10] == Flag.BAD


def test_the_variance_is_no_better_than_a_measured_pixels_and_worse_on_a_slope() -> None:
    flat = frame_with({(15, 15): Flag.BAD})
    filled = fill_pixels(flat, BadPixelSettings(fill="gaussian"))
    assert 9 <= filled.variance[15, 15] < 30
    steep = flat.after("star", data=flat.data + 100 * np.indices(flat.data.shape)[1].astype(np.float32))
    # Without its middle a Gaussian of 1 pixel weighs offsets along x with a mean square above 1.
    assert fill_pixels(steep, BadPixelSettings(fill="gaussian")).variance[15, 15] > 102**2


def test_nothing_is_filled_by_default() -> None:
    frame = frame_with(HOLES)
    assert fill_pixels(frame, BadPixelSettings()) is frame


def test_the_error_of_a_filled_sky_pixel_is_true() -> None:
    """Many pixels of flat sky: the filled values scatter about the truth by no more than their errors say."""
    rng = np.random.default_rng(2)
    data = rng.normal(500, 10, (400, 400)).astype(np.float32)
    flags = np.zeros(data.shape, np.uint16)
    flags[5::10, 5::10] = Flag.BAD
    frame = make_frame(data, unit="electron").after(
        "set", flags=flags, variance=np.full(data.shape, 100, np.float32)
    )
    filled = fill_pixels(frame, BadPixelSettings(fill="gaussian"))
    pull = (filled.data - 500)[flags != 0] / np.sqrt(filled.variance[flags != 0])
    assert np.std(pull) < 1
    assert np.mean(pull) == pytest.approx(0, abs=0.05)
