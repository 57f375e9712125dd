from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightflow.detector.master_frame import MasterFrame, MasterStatistics
from nightflow.masters.compare import compare_masters, large_scale_range
from tests.unit.detector.frames import make_master

SHAPE = (256, 256)
AREA = 8


def bias(seed: int, extra: Any = 0.0, noise: float = 5.0, n: int = 10) -> MasterFrame:
    error = noise / np.sqrt(n)
    data = 500.0 + extra + np.random.default_rng(seed).normal(0, error, SHAPE)
    return _noisy(make_master("bias", data, np.full(SHAPE, error, np.float32)), float(np.median(data)), noise)


def flat(seed: int, response: Any = 1.0) -> MasterFrame:
    data = response * np.random.default_rng(seed).normal(1, 0.002, SHAPE)
    return _noisy(make_master("flat", data, np.full(SHAPE, 0.002, np.float32)), 1.0, 0.006)


def _noisy(master: MasterFrame, median: float, noise: float) -> MasterFrame:
    return replace(master, statistics=MasterStatistics(median=median, mad=noise, noise=noise, n_used=10.0))


def across() -> np.ndarray:
    return np.linspace(-0.5, 0.5, SHAPE[1])[None, :] * np.ones((SHAPE[0], 1))


def test_what_differs_by_noise_alone_has_not_changed() -> None:
    found = compare_masters(bias(1), bias(2))
    assert found.outliers == 0
    assert abs(found.level) < 0.1
    assert found.noise == 0
    assert found.defect == 0
    assert found.gradient < 0.3


def test_pixels_off_by_more_than_six_sigma_are_counted() -> None:
    extra = np.zeros(SHAPE)
    chosen = np.random.default_rng(3).random(SHAPE) < 0.03
    extra[chosen] = 100.0
    assert compare_masters(bias(1, extra), bias(2)).outliers == pytest.approx(np.mean(chosen), rel=1e-3)


def test_a_level_is_a_level_and_no_structure() -> None:
    found = compare_masters(bias(1, 40.0), bias(2))
    assert found.level == pytest.approx(40, abs=0.1)
    assert (found.outliers, found.defect) == (0, 0)


def test_noise_is_compared() -> None:
    assert compare_masters(bias(1, noise=10.0), bias(2)).noise == pytest.approx(1.0)


def test_a_gradient_is_smooth_and_no_pixel_of_it_is_an_outlier() -> None:
    found = compare_masters(flat(1, 1 + 0.06 * across()), flat(2))
    assert found.gradient == pytest.approx(0.06, rel=0.1)
    assert found.outliers < 1e-3
    assert found.defect == 0


@pytest.mark.parametrize("depth", [-0.04, 0.02])
def test_a_thumbprint_is_found_where_it_is(depth: float) -> None:
    response = np.ones(SHAPE)
    response[96:136, 176:208] += depth
    found = compare_masters(flat(1, response), flat(2))
    assert found.defect == pytest.approx(depth, rel=0.1)
    assert 176 <= found.defect_at[0] < 208
    assert 96 <= found.defect_at[1] < 136
    assert found.gradient < 0.003


def test_flats_are_compared_whatever_their_response() -> None:
    response = 1 - 0.3 * (2 * across()) ** 2
    found = compare_masters(flat(1, response), flat(2, response))
    assert (found.level, found.noise, found.defect) == (0, 0, 0)
    assert found.outliers < 1e-4
    assert found.gradient < 0.003


def test_flagged_pixels_say_nothing() -> None:
    extra, flags = np.zeros(SHAPE), np.zeros(SHAPE, np.uint16)
    extra[:, :32], flags[:, :32] = 1e4, 1
    found = compare_masters(replace(bias(1, extra), flags=flags), bias(2))
    assert (found.outliers, found.defect) == (0, 0)


def test_only_like_is_compared_with_like() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        compare_masters(bias(1), flat(1))


def test_the_range_of_the_large_scale_leaves_the_noise_out() -> None:
    assert large_scale_range(bias(1)) < 2.5
    assert large_scale_range(bias(1, 200 * across())) == pytest.approx(200, rel=0.05)
