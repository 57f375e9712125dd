import numpy as np
import pytest

from nightflow.photcal.colors import calibrate_colors


def noisy(seed=1, count=20_000, spread=0.1, noise=0.06):
    """Colours b - r of which r is also the magnitude: true ones, observed ones, and the error of r."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0.5, spread, count)
    blue, red = rng.normal(0, noise, (2, count))
    variance, covariance = np.full(count, 2 * noise**2), np.full(count, -(noise**2))
    return true, true + blue - red, red, variance, covariance


def test_expected_colors_and_errors_are_unbiased_at_every_observed_color():
    true, observed, error, variance, covariance = noisy()
    colors = calibrate_colors(observed, variance, covariance)
    assert colors.mean == pytest.approx(0.5, abs=0.005)
    assert colors.spread == pytest.approx(0.1, rel=0.05)
    for low in np.arange(0.3, 0.7, 0.1):
        here = (observed > low) & (observed < low + 0.1)
        assert np.mean(colors.value[here] - true[here]) == pytest.approx(0, abs=0.006)
        assert np.mean(colors.magnitude_error[here] - error[here]) == pytest.approx(0, abs=0.006)


def test_variances_are_what_is_left():
    true, observed, error, variance, covariance = noisy()
    colors = calibrate_colors(observed, variance, covariance)
    assert np.var(true - colors.value) == pytest.approx(colors.variance[0], rel=0.05)
    assert np.var(error - colors.magnitude_error) == pytest.approx(0.06**2 - colors.explained[0], rel=0.05)


def test_an_unknown_color_is_the_mean_and_uncertain_by_the_spread():
    _, observed, _, variance, covariance = noisy()
    observed[0] = np.nan
    colors = calibrate_colors(observed, variance, covariance)
    assert colors.value[0] == colors.mean
    assert colors.variance[0] == pytest.approx(colors.spread**2)
    assert colors.magnitude_error[0] == colors.explained[0] == 0


def test_colors_without_stated_errors_are_taken_as_they_are():
    _, observed, _, variance, covariance = noisy()
    colors = calibrate_colors(observed, variance * np.nan, covariance * np.nan)
    np.testing.assert_allclose(colors.value, observed)
    assert not colors.magnitude_error.any()


def test_most_stars_must_have_a_color():
    observed = np.linspace(0.2, 1.0, 9)
    observed[:3] = np.nan
    assert calibrate_colors(observed, np.zeros(9), np.zeros(9)) is not None
    observed[3] = np.nan
    assert calibrate_colors(observed, np.zeros(9), np.zeros(9)) is None
    # Of the stars that count, all have one.
    assert calibrate_colors(observed, np.zeros(9), np.zeros(9), np.isfinite(observed)) is not None


def test_two_colors_tell_no_spread():
    assert calibrate_colors(np.array([0.5, 0.6, np.nan]), np.zeros(3), np.zeros(3)) is None
