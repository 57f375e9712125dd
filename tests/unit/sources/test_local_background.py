import numpy as np
import pytest

from nightflow.sources.local_background import local_background
from nightflow.sources.stamps import ring_offsets, stamp_indices


def test_level_and_error_of_noise():
    rng = np.random.default_rng(3)
    data = rng.normal(7.0, 4.0, (200, 200)).astype(np.float32)
    x, y = (part.ravel() for part in np.mgrid[30:170:20, 30:170:20].astype(float))
    level, error = local_background(data, np.zeros(data.shape, bool), x, y, 8, 12)
    assert level.mean() == pytest.approx(7.0, abs=0.15)
    assert np.std(level) == pytest.approx(np.mean(error), rel=0.35)


def test_a_star_in_the_annulus_is_clipped():
    data = np.random.default_rng(3).normal(0.0, 4.0, (100, 100)).astype(np.float32)
    data[50:54, 60:64] += 5000
    level, _ = local_background(data, np.zeros(data.shape, bool), np.array([50.0]), np.array([50.0]), 8, 14)
    assert abs(level[0]) < 0.8


def test_nothing_left_says_so():
    data = np.ones((50, 50), np.float32)
    level, error = local_background(data, np.ones(data.shape, bool), np.array([25.0]), np.array([25.0]), 5, 8)
    assert level[0] == 0
    assert np.isnan(error[0])


def test_ring_holds_its_area():
    dy, _ = ring_offsets(10, 20)
    assert len(dy) == pytest.approx(np.pi * (400 - 100), rel=0.03)


def test_stamps_never_leave_the_frame():
    rows, columns, inside = stamp_indices(np.array([0.0]), np.array([9.0]), ring_offsets(0, 3), (10, 10))
    assert rows.min() >= 0
    assert rows.max() <= 9
    assert columns.min() >= 0
    assert 0 < inside.sum() < inside.size


def clipped_by_numpy(values: np.ndarray) -> tuple[float, float]:
    """Return mean and error as the definition says, one ring at a time."""
    for _ in range(3):
        middle = np.median(values)
        sigma = 1.482602218505602 * np.median(np.abs(values - middle))
        values = values[np.abs(values - middle) <= max(3.0 * sigma, 1e-12)]
    return float(values.mean()), float(values.std() / np.sqrt(max(len(values) - 1, 1)))


def test_every_ring_is_clipped_as_the_definition_says():
    rng = np.random.default_rng(8)
    data = rng.normal(20.0, 5.0, (120, 130)).astype(np.float32)
    data[rng.random(data.shape) < 0.05] += 300.0
    data[60:80, 60:80] = 9.0
    data[3, 3] = np.nan
    mask = rng.random(data.shape) < 0.3
    x, y = rng.uniform(-2, 131, 80), rng.uniform(-2, 121, 80)
    level, error = local_background(data, mask, x, y, 4.0, 7.5)
    dy, dx = ring_offsets(4.0, 7.5)
    for place in range(80):
        row, column = np.rint(y[place]).astype(int) + dy, np.rint(x[place]).astype(int) + dx
        inside = (row >= 0) & (row < 120) & (column >= 0) & (column < 130)
        row, column = row[inside], column[inside]
        ring = data[row, column][~mask[row, column]].astype(float)
        expected = clipped_by_numpy(ring[np.isfinite(ring)])
        assert (level[place], error[place]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
