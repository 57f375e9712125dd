import numpy as np
import pytest

from nightflow.detector.saturation import flag_saturation, grow_bleed
from nightflow.flags import Flag
from tests.unit.detector.frames import make_frame


def test_counts_at_the_level_are_flagged_and_below_are_not() -> None:
    data = np.full((9, 9), 100.0)
    data[4, 4], data[2, 7] = 60000, 59999
    flags = flag_saturation(make_frame(data)).flags
    assert flags is not None
    assert flags[4, 4] == Flag.SATURATED
    assert np.count_nonzero(flags) == 1


def test_a_run_along_the_column_grows_at_both_ends() -> None:
    saturated = np.zeros((20, 5), bool)
    saturated[8:11, 2] = True
    grown = grow_bleed(saturated, 2)
    assert np.flatnonzero(grown[:, 2]).tolist() == [6, 7, 8, 9, 10, 11, 12]
    assert not grown[:, [0, 1, 3, 4]].any()


def test_a_run_along_the_row_and_a_lone_pixel_do_not_grow() -> None:
    saturated = np.zeros((20, 9), bool)
    saturated[5, 1:6] = True
    saturated[15, 4] = True
    np.testing.assert_array_equal(grow_bleed(saturated, 2), saturated)


@pytest.mark.parametrize(("rows", "length"), [(2, 2), (3, 2), (4, 9), (9, 0)])
def test_small_frames_and_no_growth(rows: int, length: int) -> None:
    saturated = np.ones((rows, 2), bool)
    np.testing.assert_array_equal(grow_bleed(saturated, length), saturated)


def test_a_run_at_the_edge_stays_inside() -> None:
    saturated = np.zeros((10, 3), bool)
    saturated[:3, 1] = True
    assert np.flatnonzero(grow_bleed(saturated, 2)[:, 1]).tolist() == [0, 1, 2, 3, 4]


def test_not_a_number_is_not_saturated() -> None:
    data = np.full((5, 5), np.nan)
    assert not flag_saturation(make_frame(data)).flags.any()


def test_electrons_are_refused() -> None:
    with pytest.raises(ValueError, match="saturation: needs counts in adu, got electron"):
        flag_saturation(make_frame(np.ones((4, 4)), unit="electron"))


def test_a_trimmed_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="untrimmed"):
        flag_saturation(make_frame(np.ones((4, 4)), shape=(4, 6)))
