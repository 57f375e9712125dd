import numpy as np
import pytest

from nightflow.detector.flat import divide_flat
from nightflow.detector.gain import apply_gain
from nightflow.flags import Flag
from tests.unit.detector.frames import make_frame, make_master


def test_response_is_divided_out_and_the_variance_follows() -> None:
    response = np.linspace(0.5, 1.5, 16).reshape(4, 4)
    frame = make_frame(1000 * response).after("v", variance=np.full((4, 4), 100, np.float32))
    after = divide_flat(frame, make_master("flat", response, 0.01))
    np.testing.assert_allclose(after.data, 1000, rtol=1e-6)
    np.testing.assert_allclose(after.variance, (100 + (1000 * 0.01) ** 2) / response**2, rtol=1e-5)


def test_dead_and_bad_response_are_flagged_and_nothing_is_infinite() -> None:
    response = np.ones((4, 4))
    response[0] = [0.0, -0.3, 0.19, 5.1]
    after = divide_flat(make_frame(np.full((4, 4), 10.0)), make_master("flat", response))
    assert after.flags[0].tolist() == [Flag.DEAD, Flag.DEAD, Flag.DEAD, Flag.BAD]
    assert not after.flags[1:].any()
    assert np.isfinite(after.data).all()
    assert after.data[0, 0] == 10
    assert "3 dead, 1 bad" in after.history[-1]


def test_the_limits_are_settings() -> None:
    response = np.full((4, 4), 0.5)
    after = divide_flat(make_frame(np.ones((4, 4))), make_master("flat", response), low=0.6, high=2)
    assert (after.flags == Flag.DEAD).all()


def test_gain_turns_adu_into_electrons() -> None:
    frame = make_frame(np.full((4, 4), 10.0)).after("v", variance=np.full((4, 4), 3, np.float32))
    after = apply_gain(frame)
    assert after.unit == "electron"
    np.testing.assert_array_equal(after.data, 20)
    np.testing.assert_array_equal(after.variance, 12)
    assert after.data.dtype == after.variance.dtype == np.float32


def test_gain_is_not_applied_twice_nor_a_flat_divided_after_it() -> None:
    electrons = apply_gain(make_frame(np.ones((4, 4))))
    with pytest.raises(ValueError, match="gain: needs counts in adu, got electron"):
        apply_gain(electrons)
    with pytest.raises(ValueError, match="flat: needs counts in adu, got electron"):
        divide_flat(electrons, make_master("flat", np.ones((4, 4))))


def test_a_senseless_gain_is_an_error() -> None:
    with pytest.raises(ValueError, match="must be positive, got -1"):
        apply_gain(make_frame(np.ones((4, 4)), gain=-1.0))
