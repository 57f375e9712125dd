import ccdproc
import numpy as np
import pytest

from nightflow.detector.master_flags import master_flags
from nightflow.flags import Flag
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import BadPixelSettings
from nightflow.masters.build import build_master
from nightflow.simulate import CameraPlan
from nightflow.simulate.detector import make_detector
from tests.unit.detector.frames import Detector, make_frame, make_master, make_profile

SETTINGS = BadPixelSettings()
FOUND = int(Flag.HOT | Flag.WARM)


def dark_with(values: list[float], typical: float = 10.0, noise: float = 1.0, **changes: float):
    """A dark of 60 s, gain 2, read noise 8: 64 electrons^2 of read noise, 20 electrons of typical current."""
    data = (
        np.random.default_rng(1).normal(typical, noise, (128, 128)) if noise else np.full((128, 128), typical)
    )
    data[64, 20 : 20 + len(values)] = values
    return make_master("dark", data, **changes)


def flags_of(
    values: list[float], exptime: float = 60.0, settings: BadPixelSettings = SETTINGS, **changes: float
):
    plane = master_flags(dark_with(values, **changes), None, exptime, settings)
    found = plane[64, 20 : 20 + len(values)].tolist()
    plane[64, 20 : 20 + len(values)] = 0
    assert not plane.any()
    return found


def test_hot_is_what_adds_a_normal_pixels_variance_and_warm_what_stands_out() -> None:
    """64 + 20 electrons of excess are hot: 42 ADU above the typical 10. Five times the noise is warm."""
    assert flags_of([55, 49, 16.5, 13.5]) == [Flag.HOT, Flag.WARM, Flag.WARM, 0]


def test_limits_are_settings() -> None:
    assert flags_of([35, 28], settings=BadPixelSettings(hot_variance=0.5)) == [Flag.HOT, Flag.WARM]
    assert flags_of([35, 28], settings=BadPixelSettings(hot_sigma=20.0)) == [Flag.WARM, 0]


def test_a_longer_exposure_makes_more_pixels_hot() -> None:
    """In 600 s the excess is tenfold, and is hot from 64 + 200 electrons: 13.2 ADU in the dark of 60 s."""
    assert flags_of([25, 21], exptime=600.0) == [Flag.HOT, Flag.WARM]
    assert flags_of([25, 21], exptime=60.0) == [Flag.WARM, Flag.WARM]


def test_a_master_without_noise_is_judged_by_what_follows_alone() -> None:
    assert flags_of([52.1, 51.9, 31.1, 30.9], noise=0.0) == [Flag.HOT, Flag.WARM, Flag.WARM, 0]


def test_a_warm_chip_is_not_flagged_as_a_whole() -> None:
    assert flags_of([], typical=5000.0) == []


def test_noise_of_the_master_makes_no_pixel_warm_where_the_read_noise_is_unknown() -> None:
    assert flags_of([300], noise=3.0, read_noise=0.0) == [Flag.HOT]


def test_amplifier_glow_is_no_defect_and_hides_none() -> None:
    y, x = np.indices((256, 256))
    glow = 200 * np.exp(-np.hypot(x, y) / 80)
    data = np.random.default_rng(5).normal(10 + glow, np.sqrt(1 + glow / 20))
    data[3, 4] += 150
    plane = master_flags(make_master("dark", data), None, 60.0, SETTINGS)
    assert plane[3, 4] & FOUND
    assert np.count_nonzero(plane) <= 3


def test_cold_pixels_are_found_where_asked_for() -> None:
    dark = dark_with([-5.0])
    assert not master_flags(dark, None, 60.0, SETTINGS).any()
    assert master_flags(dark, None, 60.0, BadPixelSettings(cold_sigma=6))[64, 20] == Flag.BAD


def test_a_dark_that_holds_its_bias_is_judged_without_it() -> None:
    detector = Detector(shape=(256, 256), seed=2)
    detector.bias = 1000 + 200 * (np.arange(256) >= 40) + detector.random.normal(0, 2, detector.shape)
    dark = detector.bias + detector.dark * 30 + detector.random.normal(0, 1, detector.shape)
    dark[20, 30] += 60
    master = make_master("dark", dark, bias_included=True)
    plane = master_flags(master, None, 60.0, SETTINGS, master_bias=make_master("bias", detector.bias))
    assert np.argwhere(plane).tolist() == [[20, 30]]
    assert plane[20, 30] == Flag.HOT


def dark_frame(rng: np.random.Generator, camera: CameraPlan, electrons: np.ndarray, exptime: float):
    """A dark as the simulator's chip gives it, bias subtracted."""
    counts = rng.poisson(electrons) + rng.normal(0, camera.read_noise, camera.shape)
    known = {"gain": camera.gain, "read_noise": camera.read_noise, "bias_included": False}
    return make_frame(counts / camera.gain, kind=FrameKind.DARK, exptime=exptime, **known)


@pytest.mark.parametrize(("n", "exptime"), [(5, 60.0), (3, 60.0), (9, 300.0)])
def test_hot_pixels_of_a_simulated_chip_are_found_and_no_others(n: int, exptime: float) -> None:
    """Truth: the simulator's; above 6.1 times the noise that a clean pixel has in the master."""
    rng = np.random.default_rng(11)
    camera = CameraPlan(shape=(1024, 1024), hot_fraction=4e-3)
    chip = make_detector(rng, camera, 0.8)
    frames = [dark_frame(rng, camera, chip.dark_rate * exptime, exptime) for _ in range(n)]
    profile = make_profile(calibration={"bias": "off"})
    dark = build_master(FrameKind.DARK, frames, profile)
    found = (master_flags(dark, None, exptime, SETTINGS) & FOUND) != 0
    clean = ~chip.hot
    noise = np.std(dark.data[clean])
    excess = (chip.dark_rate * exptime / camera.gain) - np.median(dark.data)
    bright = chip.hot & (excess > 6.1 * noise)
    assert bright.sum() > 1000
    assert found[bright].mean() >= 0.99
    assert np.count_nonzero(found & clean) < 1e-4 * found.size


def flat_with(shape=(256, 256), scatter: float = 0.01, seed: int = 6) -> np.ndarray:
    """A response that falls to half in the corners, with a speck of dust."""
    y, x = np.indices(shape) / shape[0] - 0.5
    dust = 1 - 0.1 * (np.hypot(y - 0.1, x + 0.2) < 0.06)
    return (1 - x**2 - y**2) * dust * np.random.default_rng(seed).normal(1, scatter, shape)


def test_dead_is_far_below_the_surroundings_not_below_the_middle_of_the_chip() -> None:
    response = flat_with()
    corner, weak, dead = (2, 2), (100, 100), (101, 140)
    assert response[corner] < 0.6
    response[weak] *= 0.6
    response[dead] *= 0.4
    plane = master_flags(None, make_master("flat", response), 60.0, SETTINGS)
    assert np.argwhere(plane).tolist() == [list(dead)]
    assert plane[dead] == Flag.DEAD


def test_what_a_noisy_flat_shows_must_exceed_its_scatter() -> None:
    response = flat_with(scatter=0.06)
    assert not master_flags(None, make_master("flat", response), 60.0, SETTINGS).any()
    response[50, 60] = 0.02
    assert master_flags(None, make_master("flat", response), 60.0, SETTINGS)[50, 60] == Flag.DEAD


def test_ccdmask_is_one_choice() -> None:
    response = flat_with()
    response[60:64, 70] = 0.8
    settings = BadPixelSettings(method="ccdmask", column_sigma=0)
    master = make_master("flat", response)
    plane = master_flags(None, master, 60.0, settings)
    expected = ccdproc.ccdmask(master.data)
    assert expected[60:64, 70].all()
    np.testing.assert_array_equal((plane & int(Flag.BAD)) != 0, expected)
    assert not master_flags(None, master, 60.0, SETTINGS).any()


def test_columns_of_every_master_are_found() -> None:
    response, bias = flat_with(), np.random.default_rng(8).normal(1000, 1, (256, 256))
    dark = np.random.default_rng(9).normal(10, 1, (256, 256))
    response[:, 30] *= 0.8
    bias[:, 60] += 20
    dark[128:, 90] += 5
    plane = master_flags(
        make_master("dark", dark), make_master("flat", response), 60.0, SETTINGS,
        master_bias=make_master("bias", bias),
    )  # fmt: skip
    expected = np.zeros((256, 256), bool)
    expected[:, 30] = expected[:, 60] = expected[128:, 90] = True
    np.testing.assert_array_equal((plane & int(Flag.BAD)) != 0, expected)


def test_what_was_found_is_kept_but_never_for_another_master() -> None:
    dark = dark_with([300.0])
    first = master_flags(dark, None, 60.0, SETTINGS)
    np.testing.assert_array_equal(master_flags(dark, None, 60.0, SETTINGS), first)
    for value in range(20, 200, 6):
        other = master_flags(dark_with([float(value)]), None, 60.0, SETTINGS)
        assert other[64, 20] == (Flag.HOT if value > 52 else Flag.WARM)


def test_masters_of_one_shape_are_needed() -> None:
    with pytest.raises(ValueError, match="one shape"):
        master_flags(None, None, 60.0, SETTINGS)
    with pytest.raises(ValueError, match="one shape"):
        master_flags(dark_with([]), make_master("flat", np.ones((4, 4))), 60.0, SETTINGS)
