import numpy as np
import pytest

from nightflow.detector.bad_pixels import flag_master_defects, flag_not_finite, flag_regions, parse_region
from nightflow.detector.master_frame import MasterSet
from nightflow.errors import ConfigurationError, FrameRejected
from nightflow.flags import Flag
from nightflow.instruments.profile import BadPixelSettings
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


def test_regions_may_be_words_and_concern_one_chip() -> None:
    regions = ["column 3", "rows 6 7:8", "detector 2: row 1"]
    first = flag_regions(make_frame(np.ones((6, 8)), detector="1"), regions)
    second = flag_regions(make_frame(np.ones((6, 8)), detector="2"), regions)
    expected = np.zeros((6, 8), bool)
    expected[:, 2] = True
    expected[5, 6:8] = True
    np.testing.assert_array_equal(first.flags == Flag.BAD, expected)
    assert "2 regions" in first.history[-1]
    expected[0] = True
    np.testing.assert_array_equal(second.flags == Flag.BAD, expected)


def test_what_the_masters_show_is_added_to_what_was_known() -> None:
    dark = np.random.default_rng(3).normal(10, 1, (64, 64))
    dark[5, 6], dark[7, 8] = 500, 40
    response = np.random.default_rng(4).normal(1, 0.01, (64, 64))
    response[9, 10] = 0.3
    masters = MasterSet(dark=make_master("dark", dark), flat=make_master("flat", response))
    known = flag_not_finite(make_frame(np.where(np.arange(64) == 6, np.nan, np.ones((64, 64)))))
    frame = flag_master_defects(known, masters, BadPixelSettings())
    assert frame.flags[5, 6] == Flag.BAD | Flag.INTERPOLATED | Flag.HOT
    assert (frame.flags[7, 8], frame.flags[9, 10]) == (Flag.WARM, Flag.DEAD)
    assert known.flags[5, 6] == Flag.BAD | Flag.INTERPOLATED
    assert "1 hot, 1 warm, 1 dead, 0 bad in master_dark" in frame.history[-1]
    with pytest.raises(ValueError, match=r"masters of \(64, 64\), the frame has \(4, 4\)"):
        flag_master_defects(make_frame(np.ones((4, 4))), masters, BadPixelSettings())
