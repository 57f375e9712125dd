import numpy as np
import pytest

from nightflow.detector.pedestal import subtract_pedestal
from nightflow.detector.trim import trim
from nightflow.flags import FLAG_DTYPE
from tests.unit.detector.frames import make_frame

SECTION = (slice(2, 8), slice(3, 10))


def test_trim_cuts_pixels_and_flags_alike() -> None:
    data = np.arange(120, dtype=np.float32).reshape(10, 12)
    frame = make_frame(data, trim=SECTION).after("x", flags=data.astype(FLAG_DTYPE), variance=data)
    trimmed = trim(frame)
    for plane in (trimmed.data, trimmed.flags, trimmed.variance):
        np.testing.assert_array_equal(plane, data[SECTION])
    assert trimmed.header.shape == (10, 12)
    assert not np.shares_memory(trimmed.data, data)


def test_without_a_section_nothing_is_cut() -> None:
    frame = make_frame(np.ones((10, 12)))
    assert trim(frame) is frame


def test_trimming_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="trim: needs the untrimmed frame"):
        trim(trim(make_frame(np.ones((10, 12)), trim=SECTION)))


def test_a_section_outside_is_an_error() -> None:
    with pytest.raises(ValueError, match="holds no pixel"):
        trim(make_frame(np.ones((10, 12)), trim=(slice(20, 30), slice(0, 5))))


@pytest.mark.parametrize("pedestal", [100.0, -100.0])
def test_pedestal_is_subtracted_with_its_sign(pedestal: float) -> None:
    frame = subtract_pedestal(make_frame(np.full((4, 4), 500.0), pedestal=pedestal))
    np.testing.assert_array_equal(frame.data, 500 - pedestal)
    assert frame.data.dtype == np.float32
    assert f"{pedestal:g} adu" in frame.history[-1]


def test_no_pedestal_leaves_no_trace() -> None:
    frame = make_frame(np.ones((4, 4)))
    assert subtract_pedestal(frame) is frame
