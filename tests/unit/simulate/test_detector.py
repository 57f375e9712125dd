"""The chip, judged as an observer would: photon transfer, overscan, saturation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nightflow.simulate.detector import Detector, make_detector, read_out, saturation_level
from nightflow.simulate.plan import CameraPlan

CAMERA = CameraPlan(shape=(300, 400), n_dead_columns=2, hot_fraction=0.01)
CHIP = make_detector(np.random.default_rng(1), CAMERA, 0.8)


def expose(level: float, seed: int, camera: CameraPlan = CAMERA, bias: float = 1000.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(level * CHIP.flat).astype(float)
    return read_out(rng, camera, CHIP, electrons, bias).astype(float)


def test_photon_transfer_gives_gain_and_read_noise_back() -> None:
    imaging = (slice(None), slice(0, 400))
    levels = [0.0, 5_000.0, 20_000.0, 45_000.0]
    means, variances = [], []
    for level in levels:
        first, second = expose(level, 10)[imaging], expose(level, 11)[imaging]
        good = ~CHIP.dead
        # Pixel response and bias pattern cancel in the difference of two equal frames.
        means.append(np.mean((first + second)[good]) / 2)
        variances.append(np.var((first - second)[good]) / 2)
    slope, _ = np.polyfit(np.array(means) - means[0], variances, 1)
    assert 1 / slope == pytest.approx(CAMERA.gain, rel=0.02)
    assert np.sqrt(variances[0]) * CAMERA.gain == pytest.approx(CAMERA.read_noise, rel=0.02)


def test_overscan_holds_the_level_of_the_frame_alone() -> None:
    frame = expose(20_000.0, 3, bias=1013.4)
    overscan = frame[:, 400:]
    assert overscan.shape == (300, 32)
    assert overscan.mean() == pytest.approx(1013.4, abs=0.3)
    assert overscan.std() == pytest.approx(CAMERA.read_noise / CAMERA.gain, rel=0.05)


def test_saturation_is_a_plateau_at_the_converters_end() -> None:
    frame = read_out(np.random.default_rng(1), CAMERA, CHIP, np.full(CAMERA.shape, 1e6), 1000.0)
    assert np.all(frame[:, :400] == 65535)
    assert frame[:, 400:].max() < 2000


def test_full_well_ends_before_the_converter_where_it_is_small() -> None:
    shallow = replace(CAMERA, full_well=60_000.0)
    frame = read_out(np.random.default_rng(1), shallow, CHIP, np.full(CAMERA.shape, 1e6), 1000.0)
    plateau = frame[:, :400] - CHIP.bias
    assert np.median(plateau) == pytest.approx(1000 + 60_000 / 1.5, abs=1)
    assert saturation_level(shallow) < np.median(plateau)


def test_saturation_level_is_below_the_plateau() -> None:
    assert 0.97 * 65535 < saturation_level(CAMERA) < 65535


def test_flat_has_median_one_and_the_pixels_scatter() -> None:
    assert np.median(CHIP.flat) == pytest.approx(1.0)
    middle = CHIP.flat[140:160, 150:250][:, ~CHIP.dead[0, 150:250]]
    assert middle.std() == pytest.approx(CAMERA.pixel_response, rel=0.15)


def test_dead_columns_hardly_see_light() -> None:
    assert CHIP.dead.any(axis=0).sum() == 2
    assert CHIP.flat[CHIP.dead].max() < 0.05
    assert CHIP.flat[~CHIP.dead].min() > 0.5


def test_hot_pixels_are_as_many_and_as_hot_as_asked() -> None:
    n_pixels = CHIP.hot.size
    assert CHIP.hot.sum() == pytest.approx(0.01 * n_pixels, abs=5 * np.sqrt(0.01 * n_pixels))
    assert CHIP.dark_rate[CHIP.hot].min() >= 0.5
    assert np.median(CHIP.dark_rate[~CHIP.hot]) == pytest.approx(CAMERA.dark_rate, rel=0.02)


def test_dust_leaves_rings_on_request() -> None:
    clean, dusty = (
        make_detector(np.random.default_rng(4), replace(CAMERA, n_dust=n, pixel_response=0.0), 1.0)
        for n in (0, 3)
    )
    ratio = dusty.flat / clean.flat
    shadow = ratio < 0.985 * np.median(ratio)
    assert 0.005 < shadow.mean() < 0.1


def test_bias_pattern_is_fixed_and_mostly_in_columns() -> None:
    pattern = CHIP.bias - np.median(CHIP.bias)
    assert np.median(pattern, axis=0).std() == pytest.approx(CAMERA.bias_structure, rel=0.2)


def test_same_stream_same_chip() -> None:
    again: Detector = make_detector(np.random.default_rng(1), CAMERA, 0.8)
    np.testing.assert_array_equal(again.flat, CHIP.flat)
    np.testing.assert_array_equal(again.dark_rate, CHIP.dark_rate)
