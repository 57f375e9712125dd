import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from ccdproc import subtract_overscan as ccdproc_subtract_overscan

from nightflow.detector.overscan import level_profile, line_axis, overscan_variance, subtract_overscan
from tests.unit.detector.frames import make_frame, make_header

STRIP = (slice(0, 40), slice(50, 60))


def with_strip(seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    data = random.normal(1000, 5, (40, 60))
    data += np.linspace(0, 30, 40)[:, np.newaxis]
    data[:, :50] += 200
    return data.astype(np.float32)


def test_row_median_equals_ccdproc() -> None:
    data = with_strip()
    ours = subtract_overscan(make_frame(data, overscan=STRIP), "row_median").data
    theirs = ccdproc_subtract_overscan(
        CCDData(data, unit=u.adu), overscan=CCDData(data[STRIP], unit=u.adu), overscan_axis=1, median=True
    )
    np.testing.assert_allclose(ours, theirs.data, rtol=1e-6, atol=1e-3)


def test_row_median_follows_a_drift_that_one_level_leaves() -> None:
    frame = make_frame(with_strip(), overscan=STRIP)
    by_row = subtract_overscan(frame, "row_median").data[:, :50].mean(axis=1)
    at_once = subtract_overscan(frame, "median").data[:, :50].mean(axis=1)
    assert np.ptp(by_row) < 10
    assert np.ptp(at_once) == pytest.approx(30, abs=5)


def test_one_level_is_not_moved_by_hits_in_the_strip() -> None:
    data = np.full((40, 60), 1000.0)
    data[3:6, 52:55] = 60000
    np.testing.assert_array_equal(subtract_overscan(make_frame(data, overscan=STRIP), "median").data[9], 0)


def test_the_history_tells_level_and_drift() -> None:
    line = subtract_overscan(make_frame(with_strip(), overscan=STRIP), "median").history[-1]
    assert line.startswith("overscan: median 101")
    assert "lines spread over 2" in line


def test_a_strip_of_rows_is_taken_column_by_column() -> None:
    section = (slice(50, 60), slice(0, 40))
    data = with_strip().T.copy()
    assert line_axis(section) == 1
    expected = data - np.median(data[section], axis=0)
    ours = subtract_overscan(make_frame(data, overscan=section), "row_median").data
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_rows_that_the_strip_does_not_reach_take_the_nearest_level() -> None:
    data = np.zeros((40, 60), np.float32)
    data[:, 50:] = np.arange(40)[:, np.newaxis]
    data[20, 50:] = np.nan
    levels = level_profile(data, (slice(10, 30), slice(50, 60)))
    assert levels[:11].tolist() == [10.0] * 11
    assert levels[29:].tolist() == [29.0] * 11
    assert levels[20] == pytest.approx(20)


@pytest.mark.parametrize("strip", [None, STRIP])
def test_a_strip_that_tells_nothing_is_a_warning(strip: tuple[slice, slice] | None) -> None:
    data = with_strip()
    data[:, 50:] = np.nan
    frame = subtract_overscan(make_frame(data, overscan=strip), "median")
    np.testing.assert_array_equal(frame.data, data)
    assert len(frame.warnings) == 1
    assert "not subtracted" in frame.warnings[0]


def test_off_changes_nothing() -> None:
    frame = make_frame(with_strip(), overscan=STRIP)
    assert subtract_overscan(frame, "off") is frame


def test_variance_of_the_row_level_is_that_of_a_median() -> None:
    header = make_header(overscan=(slice(0, 4000), slice(0, 32)), gain=1.0, read_noise=5.0)
    levels = np.median(np.random.default_rng(2).normal(0, 5, (4000, 32)), axis=1)
    assert overscan_variance(header, "row_median") == pytest.approx(levels.var(), rel=0.08)
    assert overscan_variance(header, "median") == 0
