"""True counts for measured ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.detector.linearity import linearise, true_counts
from nightflow.flags import Flag, new_plane
from nightflow.instruments.amplifier_settings import LinearitySettings
from tests.unit.detector.chips import LEFT, RIGHT, chip_frame
from tests.unit.detector.frames import make_frame

POLYNOMIAL = LinearitySettings(polynomial=[1.0, 2e-6], maximum=50000)
TABLE = LinearitySettings(table=[(0, 0), (1000, 1010), (40000, 42000)])


def test_a_polynomial_by_hand() -> None:
    result = true_counts(np.float32([0, 100, 10000, 50000]), POLYNOMIAL)
    np.testing.assert_allclose(result.counts, [0, 100.02, 10200, 55000], rtol=1e-6)
    np.testing.assert_allclose(result.slope, [1, 1.0004, 1.04, 1.2], rtol=1e-6)
    assert not result.beyond.any()


def test_a_table_by_hand() -> None:
    result = true_counts(np.float32([0, 500, 1000, 20500, 40000]), TABLE)
    np.testing.assert_allclose(result.counts, [0, 505, 1010, 21505, 42000], rtol=1e-6)
    np.testing.assert_allclose(result.slope, [1.01, 1.01, 40990 / 39000, 40990 / 39000, 40990 / 39000])


@pytest.mark.parametrize(
    ("curve", "measured", "expected"),
    [
        (POLYNOMIAL, -10.0, -10.0),
        (TABLE, -10.0, -10.1),
        (POLYNOMIAL, 51000.0, 55000 + 1.2 * 1000),
        (TABLE, 43900.0, 42000 + 4099.0),
    ],
)
def test_beyond_its_ends_a_curve_goes_straight_on(
    curve: LinearitySettings, measured: float, expected: float
) -> None:
    result = true_counts(np.float32([measured]), curve)
    assert result.counts[0] == pytest.approx(expected, rel=1e-6)
    assert result.beyond[0] == (measured > 0)


@given(
    lower=st.floats(-1000, 60000, width=32),
    step=st.floats(1, 1000, width=32),
    curve=st.sampled_from([POLYNOMIAL, TABLE]),
)
def test_more_counts_are_never_less_light(lower: float, step: float, curve: LinearitySettings) -> None:
    low, high = true_counts(np.float32([lower, lower + step]), curve).counts
    assert high > low


def test_beyond_the_calibrated_range_is_saturated_and_said() -> None:
    data = np.full((4, 4), 1000.0)
    data[1, 1], data[2, 2] = 45000.0, 60000.0
    flags = new_plane((4, 4))
    flags[2, 2] = int(Flag.SATURATED)
    frame = linearise(replace(make_frame(data), flags=flags), {"all": TABLE})
    assert np.argwhere(frame.flags).tolist() == [[1, 1], [2, 2]]
    assert frame.warnings == ("linearity: 1 pixels below saturation lie beyond the calibrated range",)
    assert frame.history == ("linearity: corrected, 2 pixels beyond the calibrated range",)


def test_the_readouts_variance_is_stretched_along() -> None:
    frame = replace(make_frame(np.full((2, 2), 10000.0)), variance=np.full((2, 2), 16, np.float32))
    np.testing.assert_allclose(linearise(frame, {"all": POLYNOMIAL}).variance, 16 * 1.04**2, rtol=1e-6)


def test_each_amplifier_has_its_own_curve() -> None:
    frame = linearise(chip_frame(10000.0), {"L": POLYNOMIAL, "R": TABLE})
    np.testing.assert_allclose(frame.data[LEFT], 10200, rtol=1e-6)
    np.testing.assert_allclose(frame.data[RIGHT], 1010 + 9000 * 40990 / 39000, rtol=1e-6)
    assert frame.history == ("linearity: corrected for L, R, 0 pixels beyond the calibrated range",)


def test_an_amplifier_without_a_curve_is_named() -> None:
    frame = linearise(chip_frame(10000.0), {"L": POLYNOMIAL})
    assert (frame.data[RIGHT] == 10000).all()
    assert frame.warnings == (
        "linearity: detector.linearity has no curve for chip '1' for R; counts taken as linear",
    )
    none = linearise(make_frame(np.ones((2, 2))), {"CCD7": TABLE})
    assert none.history == ("linearity: not done",)
    assert none.warnings == (
        "linearity: detector.linearity has no curve for chip '1'; counts taken as linear",
    )


def test_the_unit_is_checked() -> None:
    with pytest.raises(ValueError, match="linearity: needs counts in adu"):
        linearise(make_frame(np.ones((2, 2)), unit="electron"), {"all": TABLE})
