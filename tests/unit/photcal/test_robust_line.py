import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.photcal.robust_line import Prior, fit_robust


def line(count, seed, scatter=0.0, error=0.02):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, count)
    values = 5 + 0.3 * x + rng.normal(0, np.hypot(error, scatter), count)
    return np.column_stack([np.ones(count), x]), values, np.full(count, error)


def test_without_each_is_a_fit_without_each():
    design, values, errors = line(12, 3)
    fit = fit_robust(design, values, errors)
    assert fit.kept.all()
    for row in range(12):
        others = np.arange(12) != row
        weights = 1 / errors[others]
        solution, *_ = np.linalg.lstsq(
            design[others] * weights[:, None], values[others] * weights, rcond=None
        )
        assert fit.without_each()[row] == pytest.approx(values[row] - design[row] @ solution, abs=1e-9)


def test_a_point_that_alone_determines_a_coefficient_has_no_fit_without_it():
    x = np.array([0.5] * 11 + [2.0])
    values = 5 + np.random.default_rng(2).normal(0, 0.02, 12)
    fit = fit_robust(np.column_stack([np.ones(12), x]), values, np.full(12, 0.02))
    assert fit.kept.all()
    assert fit.leverage[11] == pytest.approx(1)
    assert np.isnan(fit.without_each()[11])
    assert np.isfinite(fit.without_each()[:11]).all()


def test_scatter_beyond_the_errors_widens_them():
    calm = fit_robust(*line(200, 1))
    noisy = fit_robust(*line(200, 1, scatter=0.1))
    assert np.sqrt(noisy.covariance[0, 0] / calm.covariance[0, 0]) == pytest.approx(5.1, rel=0.2)


@given(st.integers(0, 10_000), st.floats(2.0, 1e3))
def test_a_minority_of_wrong_points_does_not_move_it(seed, size):
    design, values, errors = line(40, seed)
    wrong = values.copy()
    wrong[:12] += size
    fit = fit_robust(design[:, :1], wrong, errors)
    honest = np.median(values)
    assert abs(fit.coefficients[0] - honest) < 0.2


@given(st.integers(0, 1000))
def test_the_answer_does_not_depend_on_the_order(seed):
    design, values, errors = line(25, seed, scatter=0.05)
    order = np.random.default_rng(seed).permutation(25)
    one, other = fit_robust(design, values, errors), fit_robust(design[order], values[order], errors[order])
    np.testing.assert_allclose(one.coefficients, other.coefficients, atol=1e-8)


def test_a_prior_is_a_point_like_others():
    design, values, errors = line(12, 3)
    errors = 4 * errors
    prior = Prior(np.array([0.0, 0.5]), np.array([np.inf, 0.01]))
    fit = fit_robust(design, values, errors, prior)
    rows = np.vstack([design / errors[:, None], [0, 1 / 0.01]])
    solution, *_ = np.linalg.lstsq(rows, np.append(values / errors, 0.5 / 0.01), rcond=None)
    assert fit.kept.all()
    np.testing.assert_allclose(fit.coefficients, solution, atol=1e-8)


def test_what_the_points_do_not_tell_the_prior_leaves_open():
    design, values, errors = line(30, 4)
    design[:, 1] = 1.0
    fit = fit_robust(design, values, errors, Prior(np.zeros(2), np.array([np.inf, 0.1])))
    assert np.sqrt(fit.covariance[1, 1]) == pytest.approx(0.1, rel=0.01)
    assert np.sqrt(fit.covariance[0, 0]) == pytest.approx(0.1, rel=0.05)
