import numpy as np
import pytest

from nightflow.detector.bad_pixels import (
    flag_hot_pixels,
    flag_not_finite,
    flag_regions,
    hot_pixel_limits,
    parse_region,
)
from nightflow.errors import ConfigurationError, FrameRejected
from nightflow.flags import Flag
from tests.unit.detector.frames import make_frame, make_master


def test_pixels_that_are_no_number_are_flagged_and_filled() -> None:
    data = np.full((5, 5), 7.0)
    data[1, 2], data[3, 3] = np.nan, np.inf
    frame = flag_not_finite(make_frame(data))
    assert frame.flags[1, 2] == frame.flags[3, 3] == Flag.BAD | Flag.INTERPOLATED
    assert np.count_nonzero(frame.flags) == 2
    np.testing.assert_array_equal(frame.data, 7)


def test_a_frame_of_nothing_else_is_rejected() -> None:
    with pytest.raises(FrameRejected, match="not one of 25 pixels is finite"):
        flag_not_finite(make_frame(np.full((5, 5), np.nan)))


def test_finite_frames_pass() -> None:
    frame = make_frame(np.ones((5, 5)))
    assert flag_not_finite(frame) is frame


def test_regions_are_one_based_columns_first_both_ends_included() -> None:
    frame = flag_regions(make_frame(np.ones((6, 8))), ["[3:3,1:6]", "[7:8,6:6]"])
    expected = np.zeros((6, 8), bool)
    expected[:, 2] = True
    expected[5, 6:8] = True
    np.testing.assert_array_equal(frame.flags == Flag.BAD, expected)


@pytest.mark.parametrize("region", ["[1:9,1:6]", "[1:2,1:7]", "1:2", "[0:1,1:1]", "", "[1:2]"])
def test_a_region_that_does_not_fit_is_named(region: str) -> None:
    with pytest.raises(ConfigurationError, match=r"bad_pixel_regions: .* no part of a frame of 8x6 pixels"):
        parse_region(region, (6, 8))


def test_regions_need_raw_coordinates() -> None:
    with pytest.raises(ValueError, match="untrimmed"):
        flag_regions(make_frame(np.ones((6, 8)), shape=(6, 9)), ["[1:1,1:1]"])


def dark_with(values: list[float], typical: float = 10.0, **changes: float):
    """A dark of 60 s, gain 2, read noise 8: 64 electrons^2 of read noise, 20 electrons of typical current."""
    data = np.full((20, 20), typical)
    data[0, : len(values)] = values
    return make_master("dark", data, **changes)


def test_hot_and_warm_are_in_units_of_the_normal_pixels_variance() -> None:
    """64 + 20 electrons of excess are hot: 42 ADU above the typical 10; half of it is warm."""
    frame = flag_hot_pixels(make_frame(np.ones((20, 20))), dark_with([52.1, 51.9, 31.1, 30.9]))
    assert frame.flags[0, :4].tolist() == [Flag.HOT, Flag.WARM, Flag.WARM, 0]
    assert not frame.flags[1:].any()
    assert "1 hot, 2 warm" in frame.history[-1]


def test_a_longer_exposure_makes_more_pixels_hot() -> None:
    short, long = (hot_pixel_limits(dark_with([]), exptime) for exptime in (60.0, 600.0))
    assert long.hot - 10 < short.hot - 10
    assert long.hot - 10 == pytest.approx((64 + 200) / (2 * 10))


def test_a_warm_chip_is_not_flagged_as_a_whole() -> None:
    frame = flag_hot_pixels(make_frame(np.ones((20, 20))), dark_with([], typical=5000))
    assert not frame.flags.any()


def test_noise_of_the_master_makes_no_pixel_warm_where_the_read_noise_is_unknown() -> None:
    data = np.random.default_rng(4).normal(0, 3, (100, 100))
    data[5, 5] = 300
    frame = flag_hot_pixels(make_frame(np.ones((100, 100))), make_master("dark", data, read_noise=0.0))
    assert frame.flags[5, 5] == Flag.HOT
    assert np.count_nonzero(frame.flags) == 1
