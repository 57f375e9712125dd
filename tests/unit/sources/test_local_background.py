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
