import numpy as np
import pytest

from nightflow.detector.bias import subtract_bias
from nightflow.flags import Flag, new_plane
from tests.unit.detector.frames import make_frame, make_master


def test_bias_is_subtracted_below_zero_too() -> None:
    """In unsigned integers 990 - 1000 would be 65526."""
    raw = np.full((4, 4), 990, np.uint16)
    frame = subtract_bias(make_frame(raw), make_master("bias", np.full((4, 4), 1000.0)))
    np.testing.assert_array_equal(frame.data, -10)
    assert not frame.header.bias_included
    assert frame.history == (f"bias: master_bias {make_master('bias', [[0]]).fingerprint[:12]} subtracted",)


def test_the_masters_flags_are_taken_over() -> None:
    flags = new_plane((4, 4))
    flags[1, 2] = Flag.BAD
    frame = subtract_bias(make_frame(np.ones((4, 4))), make_master("bias", np.ones((4, 4)), flags=flags))
    np.testing.assert_array_equal(frame.flags, flags)


def test_a_bias_that_is_gone_is_not_subtracted_again() -> None:
    frame = make_frame(np.full((4, 4), 5.0), bias_included=False)
    after = subtract_bias(frame, make_master("bias", np.full((4, 4), 1000.0)))
    np.testing.assert_array_equal(after.data, 5)
    assert "already" in after.history[-1]


def test_wrong_kind_and_shape_are_errors() -> None:
    with pytest.raises(ValueError, match="bias: needs a master bias, got a master dark"):
        subtract_bias(make_frame(np.ones((4, 4))), make_master("dark", np.ones((4, 4))))
    with pytest.raises(ValueError, match=r"pixels of \(5, 4\), the frame of \(4, 4\)"):
        subtract_bias(make_frame(np.ones((4, 4))), make_master("bias", np.ones((5, 4))))
