from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.sources.completeness import Completeness, measure_completeness
from nightflow.sources.measure import measure_frame
from tests.unit.sources.painted import SHAPE, painted

DETECTION, PHOTOMETRY = DetectionSettings(), PhotometrySettings()
EDGES = np.arange(-9.0, -4.9, 0.5)
"""Of 1 electron: 4,000 down to 100."""


def measure(frame, measured, **options):
    return measure_completeness(
        frame, DETECTION, measured.profile, 0.0, PHOTOMETRY.total_fwhm, EDGES, **options
    )


@pytest.fixture(scope="module")
def result():
    frame = painted(*np.empty((3, 0)), seed=5)
    return measure(frame, measure_frame(frame, DETECTION, PHOTOMETRY), per_bin=60)


def test_bright_stars_are_found_and_faint_ones_are_not(result):
    assert (result.injected == 60).all()
    assert (result.fraction[:2] > 0.9).all()
    assert result.fraction[-1] < 0.1
    assert result.magnitude_at(0.9) < result.magnitude_at(0.5) < EDGES[-1]
    assert ((result.low < result.fraction + 1e-9) & (result.fraction - 1e-9 < result.high)).sum() >= 7


def test_half_of_the_simulator_s_own_stars_of_that_magnitude_are_found(result):
    found = []
    for seed in range(10, 18):
        rng = np.random.default_rng(seed)
        row, column = np.divmod(np.arange(48), 8)
        x, y = 28 + 54.0 * column + rng.uniform(-9, 9, 48), 35 + 66.0 * row + rng.uniform(-9, 9, 48)
        electrons = np.full(48, 10 ** (-0.4 * result.magnitude_at(0.5)))
        sources = measure_frame(painted(x, y, electrons, seed=seed), DETECTION, PHOTOMETRY).sources
        distance, _ = cKDTree(np.column_stack([sources.x, sources.y])).query(np.column_stack([x, y]))
        found += (distance < 1.5).tolist()
    assert max(x.max() - SHAPE[1], y.max() - SHAPE[0]) < 0
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)


def test_the_same_seed_gives_the_same_and_the_frame_is_left_alone(result):
    frame = painted(*np.empty((3, 0)), seed=5)
    before = frame.data.copy()
    measured = measure_frame(frame, DETECTION, PHOTOMETRY)
    again = measure(frame, measured, per_bin=60)
    assert np.array_equal(again.found, result.found)
    assert np.array_equal(frame.data, before)


def test_magnitudes_at_a_fraction_and_binomial_errors():
    curve = Completeness(
        mag=np.array([15.0, 16.0, 17.0]), injected=np.array([10, 10, 10]), found=np.array([10, 8, 0])
    )
    assert curve.magnitude_at(0.4) == pytest.approx(16.5)
    assert curve.magnitude_at(0.9) == pytest.approx(15.5)
    deep = Completeness(mag=np.array([15.0, 16.0]), injected=np.array([9, 9]), found=np.array([9, 6]))
    assert np.isnan(deep.magnitude_at(0.5))
    # A binomial of 8 in 10: the normal approximation is 0.13 either way.
    assert curve.high[1] - curve.low[1] == pytest.approx(0.25, abs=0.03)
    assert 0.8 < curve.low[0] < 1
    assert curve.high[2] < 0.1
