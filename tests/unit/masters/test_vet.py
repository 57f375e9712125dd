import numpy as np
import pytest

from nightflow.flags import Flag
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import InputLimits
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


def with_areas(areas: np.ndarray, level: float = 1000.0) -> InputMeasures:
    return InputMeasures(level=level, noise=5.0, raw_level=0.5, saturated=0.0, areas=areas, side=16)


def test_an_input_with_a_light_leak_is_dropped_and_the_place_is_named() -> None:
    flat = np.full((20, 20), 1000.0)
    leak = flat + np.linspace(0, 40, 20)[None, :]
    faults = vet(FrameKind.BIAS, [with_areas(flat), with_areas(flat), with_areas(leak), with_areas(flat)])
    assert [bool(fault) for fault in faults] == [False, False, True, False]
    assert faults[2].startswith(
        "85.0% of its areas differ from the other inputs by more than 5.0 adu, most by 40.0 adu"
    )
    assert "at (312, 8)" in faults[2]


def test_a_trail_across_a_flat_is_dropped_and_a_star_is_not() -> None:
    clean, trail, star = (np.full((30, 30), 20000.0) for _ in range(3))
    np.fill_diagonal(trail, 21000.0)
    star[4, 4] = 40000.0
    inputs = [with_areas(one, 20000.0) for one in (clean, trail, clean, star)]
    assert [bool(fault) for fault in vet(FrameKind.FLAT, inputs)] == [False, True, False, False]


def test_flats_of_any_brightness_are_alike() -> None:
    shape = 1 - 0.3 * np.linspace(-1, 1, 20)[None, :] ** 2 * np.ones((20, 1))
    inputs = [with_areas(shape * level, level) for level in (9000.0, 20000.0, 44000.0)]
    assert vet(FrameKind.FLAT, inputs) == ["", "", ""]


def test_two_inputs_cannot_outvote_each_other() -> None:
    flat = np.full((20, 20), 1000.0)
    assert vet(FrameKind.BIAS, [with_areas(flat), with_areas(flat + np.eye(20) * 500)]) == ["", ""]


def test_limits_are_the_profiles() -> None:
    flat = np.full((20, 20), 1000.0)
    inputs = [with_areas(flat), with_areas(flat), with_areas(flat + np.eye(20) * 8)]
    assert vet(FrameKind.DARK, inputs)[2]
    assert vet(FrameKind.DARK, inputs, InputLimits(structure=2.0)) == ["", "", ""]
