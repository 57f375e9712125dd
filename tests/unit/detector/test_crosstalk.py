"""Ghosts between amplifiers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.detector.crosstalk import subtract_crosstalk
from nightflow.detector.saturation import flag_saturation
from nightflow.errors import ConfigurationError
from nightflow.flags import Flag
from tests.unit.detector.chips import LEFT, RIGHT, raw_frame

MATRIX = [[0.0, 1e-3], [2e-3, 0.0]]
"""A thousandth of the right amplifier's counts in the left one, two of the left one's in the right one."""


def test_a_ghost_lies_at_the_same_distance_from_the_other_corner() -> None:
    """The left amplifier reads from the left, the right one from the right: columns 1 and 10 go together."""
    data = np.zeros((8, 16))
    data[3, 1] = 10000.0
    data[3, 10] = 20.0
    frame = subtract_crosstalk(raw_frame(data), MATRIX)
    assert frame.data[3, 10] == pytest.approx(0, abs=1e-3)
    assert frame.data[3, 1] == pytest.approx(10000, rel=1e-6)
    assert np.count_nonzero(np.abs(frame.data) > 1e-3) == 1


def test_flips_count() -> None:
    """Written as read, the right amplifier's pixel 1 is the ghost of the left one's pixel 1."""
    data = np.zeros((8, 16))
    data[3, 1], data[4, 2] = 10000.0, 500.0
    data[3, 7] = 20.0
    frame = subtract_crosstalk(raw_frame(data, right={"flip_x": True}), MATRIX)
    assert frame.data[3, 7] == pytest.approx(0, abs=1e-3)
    assert frame.data[4, 8] == pytest.approx(-1.0, rel=1e-3)


@given(
    seed=st.integers(0, 1000),
    flip_x=st.booleans(),
    flip_y=st.booleans(),
    corner=st.sampled_from(["lower_left", "lower_right", "upper_left", "upper_right"]),
)
def test_what_leaked_is_taken_back(seed: int, flip_x: bool, flip_y: bool, corner: str) -> None:
    """Against the forward way, written down pixel by pixel."""
    random = np.random.default_rng(seed)
    true = random.uniform(0, 40000, (8, 16))
    right = {"flip_x": flip_x, "flip_y": flip_y, "corner": corner}
    seen = true.copy()
    for row in range(8):
        for column in range(6):
            # Chip coordinates of the right amplifier's pixel that is read with the left one's (row, column).
            y = 7 - row if corner.startswith("upper") else row
            x = 5 - column if corner.endswith("right") else column
            other = (7 - y if flip_y else y), 6 + (5 - x if flip_x else x)
            seen[row, column] += MATRIX[0][1] * true[other]
            seen[other] += MATRIX[1][0] * true[row, column]
    frame = subtract_crosstalk(raw_frame(seen, right=right), MATRIX)
    # A ghost of up to 40000 counts times the coupling was added and taken back, in float32.
    np.testing.assert_allclose(frame.data[:, :12], true[:, :12], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(frame.data[:, 12:], true[:, 12:], rtol=1e-6)


def test_the_ghost_of_a_saturated_pixel_is_not_trusted() -> None:
    data = np.zeros((8, 16))
    data[3, 1] = 55000.0  # saturated: the left one's level is 50000
    data[5, 2] = 45000.0
    frame = subtract_crosstalk(flag_saturation(raw_frame(data)), MATRIX)
    assert frame.flags[3, 10] == int(Flag.BAD)
    assert frame.flags[5, 9] == 0
    assert frame.data[3, 10] == pytest.approx(-110, rel=1e-3)
    assert "1 pixels lie on the ghost of a saturated one" in frame.history[-1]


def test_a_ghost_below_the_read_noise_is_no_fault() -> None:
    data = np.zeros((8, 16))
    data[3, 1] = 55000.0
    frame = subtract_crosstalk(flag_saturation(raw_frame(data)), [[0.0, 0.0], [1e-5, 0.0]])
    assert not frame.flags[RIGHT].any()


def test_amplifiers_of_different_size_share_what_both_read() -> None:
    data = np.zeros((8, 16))
    data[LEFT] = 1000.0
    small = {"data": (slice(0, 5), slice(6, 10)), "corner": "lower_left"}
    frame = subtract_crosstalk(raw_frame(data, right=small), MATRIX)
    np.testing.assert_allclose(frame.data[:5, 6:10], -2.0, rtol=1e-3)
    assert not frame.data[5:, 6:].any()


def test_a_matrix_of_another_chip_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"has 3 rows, but the chip '1' has 2 amplifiers \(L, R\)"):
        subtract_crosstalk(raw_frame(), np.zeros((3, 3)).tolist())


def test_unit_and_shape_are_checked() -> None:
    with pytest.raises(ValueError, match="crosstalk: needs counts in adu"):
        subtract_crosstalk(replace(raw_frame(), unit="electron"), MATRIX)
    with pytest.raises(ValueError, match="crosstalk: needs the untrimmed frame"):
        subtract_crosstalk(replace(raw_frame(), data=np.zeros((8, 12), np.float32)), MATRIX)
