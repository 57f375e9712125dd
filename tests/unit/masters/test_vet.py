import numpy as np
import pytest

from nightflow.flags import Flag
from nightflow.instruments.header import FrameKind
from nightflow.masters.vet import InputMeasures, measure_input, unusable, vet
from tests.unit.detector.frames import make_frame


def measures(
    level: float, noise: float = 5.0, raw_level: float = 0.5, saturated: float = 0.001
) -> InputMeasures:
    return InputMeasures(level=level, noise=noise, raw_level=raw_level, saturated=saturated)


def test_a_level_far_off_is_dropped_and_said() -> None:
    faults = vet(FrameKind.BIAS, [measures(1000), measures(1001), measures(999), measures(1500)])
    assert faults[:3] == ["", "", ""]
    assert faults[3] == "level 1500.0 adu, the others 1000.5 within 7.4"


def test_levels_within_one_pixels_noise_do_no_harm() -> None:
    """Three levels of which two agree have a MAD of almost nothing."""
    assert vet(FrameKind.BIAS, [measures(1000), measures(1000.01), measures(1003)]) == ["", "", ""]


def test_a_noisy_frame_is_dropped() -> None:
    faults = vet(FrameKind.DARK, [measures(10), measures(11), measures(10, noise=40)])
    assert faults == ["", "", "noise 40.0 adu, more than 10.0"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (measures(300, raw_level=0.01), "too faint: level 1.0% of saturation, below 2%"),
        (measures(60000, raw_level=0.95), "too bright: level 95.0% of saturation, above 90%"),
        (measures(30000, saturated=0.1), "saturated: 10.0% of the pixels"),
        (measures(-5), "no light: level -5 adu"),
        (measures(np.nan), "no usable pixel"),
    ],
)
def test_flats_that_say_nothing_are_dropped(fault: InputMeasures, message: str) -> None:
    assert vet(FrameKind.FLAT, [measures(30000), fault, measures(9000)]) == ["", message, ""]


def test_columns_that_saturate_in_every_flat_are_no_fault() -> None:
    assert vet(FrameKind.FLAT, [measures(30000, saturated=0.05)] * 3) == ["", "", ""]


def test_a_frame_without_a_usable_pixel_does_not_spoil_the_others() -> None:
    assert vet(FrameKind.BIAS, [measures(1000), measures(1001), measures(np.nan, np.nan)]) == [
        "", "", "no usable pixel",
    ]  # fmt: skip
    assert vet(FrameKind.BIAS, []) == []


def test_measures_leave_unusable_pixels_out() -> None:
    data = np.random.default_rng(1).normal(1000, 5, (50, 50))
    data[:, 0] = 60000
    raw = make_frame(data)
    flags = np.where(raw.data >= 60000, Flag.SATURATED, 0).astype(np.uint16)
    result = measure_input(raw, raw.after("x", data=raw.data - 900, flags=flags))
    assert result.level == pytest.approx(100, abs=0.5)
    assert result.noise == pytest.approx(5, rel=0.1)
    assert result.raw_level == pytest.approx(1000 / 60000, rel=1e-3)
    assert result.saturated == pytest.approx(0.02)
    assert not unusable(raw).any()
