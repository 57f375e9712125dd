import numpy as np
import pytest

from nightflow.detector.chain import MasterSet, calibrate
from nightflow.detector.illumination import divide_illumination
from nightflow.flags import Flag
from tests.unit.detector.frames import Detector, make_frame, make_master, make_profile

SHAPE = (6, 8)
SLOPE = 1 + 0.01 * np.indices(SHAPE)[1]
OFF = {"bias": "off", "dark": "off", "flat": "off"}


def test_the_sky_becomes_even_and_the_variance_follows() -> None:
    """Relative error 0.02 of the illumination: 2 % of the corrected counts."""
    frame = make_frame(1000 * SLOPE).after("v", variance=np.full(SHAPE, 500, np.float32))
    master = make_master("illumination", SLOPE, 0.02)
    done = divide_illumination(frame, master)
    np.testing.assert_allclose(done.data, 1000, rtol=1e-6)
    np.testing.assert_allclose(done.variance, (500 + 20**2) / SLOPE**2, rtol=1e-5)
    assert done.history[-1] == f"illumination: {master.label} divided"


def test_where_it_is_not_positive_nothing_is_divided() -> None:
    data = SLOPE.copy()
    data[2, 3], data[4, 5] = 0, -1
    done = divide_illumination(make_frame(np.full(SHAPE, 100.0)), make_master("illumination", data))
    assert done.data[2, 3] == done.data[4, 5] == 100
    assert np.argwhere(done.flags == Flag.BAD).tolist() == [[2, 3], [4, 5]]


def test_flags_of_the_master_are_taken_over() -> None:
    flags = np.zeros(SHAPE, np.uint16)
    flags[1, 1] = Flag.BAD
    done = divide_illumination(make_frame(np.ones(SHAPE)), make_master("illumination", SLOPE, flags=flags))
    assert np.argwhere(done.flags).tolist() == [[1, 1]]


def test_it_needs_adu_and_an_illumination() -> None:
    with pytest.raises(ValueError, match="needs counts in adu"):
        divide_illumination(make_frame(np.ones(SHAPE), unit="electron"), make_master("illumination", SLOPE))
    with pytest.raises(ValueError, match="needs a master illumination, got a master flat"):
        divide_illumination(make_frame(np.ones(SHAPE)), make_master("flat", SLOPE))


def test_the_chain_divides_by_it_after_the_flat_and_before_the_gain() -> None:
    detector = Detector()
    slope = 1 + 0.001 * np.indices(detector.shape)[1]
    masters = MasterSet(
        flat=make_master("flat", detector.response), illumination=make_master("illumination", slope)
    )
    profile = make_profile(calibration={**OFF, "flat": "required", "illumination": "required"})
    result = calibrate(make_frame(100 * detector.response * slope), profile, masters)
    np.testing.assert_allclose(result.data, 200, rtol=1e-5)
    steps = [line.split(":")[0] for line in result.history]
    assert steps.index("flat") < steps.index("illumination") < steps.index("gain")


@pytest.mark.parametrize("kind", ["illumination", "fringe"])
def test_without_the_master_the_chain_says_so_and_goes_on(kind: str) -> None:
    profile = make_profile(calibration={**OFF, kind: "optional"})
    result = calibrate(make_frame(np.full((8, 8), 100.0)), profile, MasterSet())
    np.testing.assert_array_equal(result.data, 200)
    assert f"{kind}: no master {kind}; not corrected" in result.warnings
