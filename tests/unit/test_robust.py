import numpy as np
import pytest

from nightflow.robust import robust_sigma


def test_it_is_the_standard_deviation_of_a_gaussian():
    values = np.random.default_rng(1).normal(5, 2, 100_000)
    assert robust_sigma(values) == pytest.approx(2, rel=0.01)


def test_a_third_of_wrong_values_hardly_matters():
    values = np.random.default_rng(1).normal(5, 2, 9_000)
    values[:3000] = 1e9
    assert robust_sigma(values) < 5


def test_nan_is_ignored_and_nothing_is_nan():
    assert robust_sigma(np.array([1.0, 2.0, 3.0, np.nan])) == pytest.approx(1.4826, abs=1e-4)
    assert np.isnan(robust_sigma(np.empty(0)))
