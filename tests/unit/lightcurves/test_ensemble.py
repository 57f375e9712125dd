"""Nights with a known truth: what the ensemble must remove, and what it must leave alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from nightflow.lightcurves.ensemble import Comparison, EnsembleCurve, ensemble_curve


@dataclass
class Night:
    """Magnitudes of stars on frames; star 0 is the target with a transit of 23 mmag in the middle."""

    n_frames: int = 60
    n_stars: int = 20
    seed: int = 7
    noise: float = 0.004

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.time = np.linspace(-1.0, 1.0, self.n_frames)
        self.transit = np.where(np.abs(self.time) < 0.3, 0.023, 0.0)
        mean = np.concatenate([[11.3], self.rng.uniform(10.0, 12.3, self.n_stars - 1)])
        # Photon noise grows with the square root of the faintness.
        self.sigma = self.noise * 10 ** (0.2 * (mean - 11.3))
        self.mag = mean + self.sigma * self.rng.normal(size=(self.n_frames, self.n_stars))
        self.mag[:, 0] += self.transit

    @property
    def flux(self) -> np.ndarray:
        return 10 ** (-0.4 * (self.mag - 25.0))

    def curve(self, usable: np.ndarray | None = None) -> EnsembleCurve:
        return ensemble_curve(self.flux, self.flux * self.sigma / 1.0857, 0, usable)

    def residual(self, curve: EnsembleCurve) -> np.ndarray:
        off = curve.diff_mag - self.transit
        return off - np.nanmedian(off)


def _comparison(curve: EnsembleCurve, star: int) -> Comparison:
    return next(one for one in curve.comparisons if one.star == star)


@pytest.mark.parametrize("n_stars", [6, 15, 40])
def test_cloud_and_extinction_go_and_the_transit_stays(n_stars: int) -> None:
    night = Night(n_stars=n_stars)
    night.mag += (0.8 * np.abs(np.sin(night.time * 5)) + 0.2 * night.time)[:, None]
    curve = night.curve()
    assert np.std(night.residual(curve)) < 1.35 * night.noise
    depth = np.median(curve.diff_mag[night.transit > 0]) - np.median(curve.diff_mag[night.transit == 0])
    assert depth == pytest.approx(0.023, abs=0.003)


def test_the_median_is_zero_and_errors_are_honest() -> None:
    residuals, errors = [], []
    for seed in range(20):
        night = Night(seed=seed)
        curve = night.curve()
        assert np.median(curve.diff_mag) == pytest.approx(0.0, abs=1e-12)
        residuals.append(night.residual(curve))
        errors.append(curve.diff_mag_err)
    pull = np.std(np.concatenate(residuals) / np.concatenate(errors))
    assert 0.9 < pull < 1.1


def test_the_target_is_never_its_own_comparison() -> None:
    night = Night()
    assert 0 not in {one.star for one in night.curve().comparisons}
    assert {one.star for one in night.curve().comparisons} == set(range(1, night.n_stars))


def test_the_weights_add_up_and_the_heaviest_comes_first() -> None:
    weights = [one.weight for one in Night().curve().comparisons]
    assert sum(weights) == pytest.approx(1.0)
    assert weights == sorted(weights, reverse=True)


def test_a_variable_star_is_dropped_and_named() -> None:
    night = Night()
    night.mag[:, 5] += 0.15 * np.sin(night.time * 9)
    curve = night.curve()
    variable = _comparison(curve, 5)
    assert variable.weight == 0.0
    assert "times what its peers let expect" in variable.reason
    assert variable.scatter > 0.05
    assert np.std(night.residual(curve)) < 1.35 * night.noise


def test_several_variables_are_dropped_without_the_good_ones() -> None:
    night = Night(n_stars=25)
    for star in range(1, 6):
        night.mag[:, star] += 0.1 * np.sin(night.time * (3 + star))
    curve = night.curve()
    assert all(_comparison(curve, star).weight == 0.0 for star in range(1, 6))
    assert sum(one.weight > 0 for one in curve.comparisons) >= 15
    assert np.std(night.residual(curve)) < 1.35 * night.noise


def test_a_bright_noisy_star_does_not_rule() -> None:
    # Its photon error says 1 mmag, its true scatter is 15 mmag: by photons alone it would be the ensemble.
    night = Night()
    night.mag[:, 3] = 9.0 + 0.015 * night.rng.normal(size=night.n_frames)
    night.sigma[3] = 0.001
    curve = night.curve()
    assert _comparison(curve, 3).weight < 0.05
    assert np.std(night.residual(curve)) < 1.35 * night.noise


def test_stars_that_leave_the_frame_make_no_step() -> None:
    night = Night(n_stars=30)
    # A drift: each comparison star is there for a part of the night only; they differ by two magnitudes.
    for star in range(1, 30):
        start = (star - 15) / 15.0
        gone = (night.time < start - 0.7) | (night.time > start + 0.7)
        night.mag[gone, star] = np.nan
    night.mag += (0.3 * night.time)[:, None]
    curve = night.curve()
    assert np.isfinite(curve.diff_mag).all()
    assert np.std(night.residual(curve)) < 1.5 * night.noise


def drift(seed: int, n_frames: int, n_stars: int, width: int) -> EnsembleCurve:
    """Return the curve of a constant star while others, all of 10 mmag noise, drift by.

    Each of the others is on ``width`` frames.
    """
    rng = np.random.default_rng(seed)
    frame = np.arange(n_frames)
    cloud = 0.2 * np.sin(frame / 9.0)
    mag = rng.normal(0.0, 0.5, n_stars + 1) + cloud[:, None] + rng.normal(0.0, 0.01, (n_frames, n_stars + 1))
    middle = np.linspace(-width / 2, n_frames + width / 2, n_stars)
    mag[:, 1:][np.abs(frame[:, None] - middle) >= width / 2] = np.nan
    mag[:, 0] = cloud
    flux = 10 ** (-0.4 * (mag - 20.0))
    error = flux * 0.01 / 1.0857
    # The target has no noise, so that what its curve does is the ensemble's.
    error[:, 0] = 0.0
    return ensemble_curve(flux, error, 0)


@pytest.mark.parametrize("width", [20, 40, 120])
def test_errors_know_what_a_change_of_stars_does(width: int) -> None:
    chi2 = []
    for seed in range(12):
        curve = drift(seed, 120, 40, width)
        ends = np.r_[0:20, 100:120]
        off = curve.diff_mag - curve.diff_mag.mean()
        chi2.append(np.mean((off[ends] / curve.diff_mag_err[ends]) ** 2))
    assert 0.75 < np.mean(chi2) < 1.25


def test_a_field_that_drifts_through_a_long_night_has_its_curve() -> None:
    curve = drift(1, 300, 60, 20)
    assert np.isfinite(curve.diff_mag).mean() > 0.98
    assert sum(one.weight > 0 for one in curve.comparisons) > 50
    assert np.nanstd(curve.diff_mag) < 0.04


@pytest.mark.parametrize("n_stars", [3, 5, 10])
@pytest.mark.parametrize("noise", [0.0003, 0.01])
def test_errors_are_no_larger_than_the_stars_show(n_stars: int, noise: float) -> None:
    chi2 = []
    for seed in range(12):
        mag = np.random.default_rng(seed).normal(0.0, noise, (100, n_stars + 1))
        flux = 10 ** (-0.4 * mag)
        curve = ensemble_curve(flux, flux * noise / 1.0857, 0)
        chi2.append(np.var(curve.diff_mag) / np.mean(curve.diff_mag_err**2))
    assert 0.85 < np.mean(chi2) < 1.1


def test_a_meridian_flip_with_steps_of_the_flat_field() -> None:
    night = Night(n_stars=30)
    night.mag[30:, 1:] += night.rng.normal(0.0, 0.006, 29)
    curve = night.curve()
    assert np.std(night.residual(curve)) < 1.6 * night.noise


def test_single_wild_points_count_no_more() -> None:
    night = Night()
    for star in range(1, 20, 2):
        night.mag[star, star] -= 1.0
    assert np.std(night.residual(night.curve())) < 1.35 * night.noise


def test_saturated_measurements_do_not_count() -> None:
    night = Night()
    usable = np.ones(night.mag.shape, bool)
    night.mag[20:40, 1:10] += 0.3
    usable[20:40, 1:10] = False
    curve = night.curve(usable)
    assert np.std(night.residual(curve)) < 1.5 * night.noise


def test_why_a_star_is_not_in() -> None:
    night = Night()
    night.mag[10:, 2] = np.nan
    night.mag[:, 3] += 4.5
    curve = night.curve()
    assert _comparison(curve, 2).reason == "usable on 10 of 60 frames"
    assert "mag fainter than the target" in _comparison(curve, 3).reason


def test_a_faint_field_is_used_where_there_is_nothing_better() -> None:
    night = Night(n_stars=6)
    night.mag[:, 1:] += 2.5
    night.sigma[1:] *= 3.0
    curve = night.curve()
    assert np.isfinite(curve.diff_mag).all()
    assert sum(one.weight > 0 for one in curve.comparisons) == 5


def test_two_stars_are_an_ensemble_of_one() -> None:
    night = Night(n_stars=2)
    curve = night.curve()
    assert curve.n_stars.tolist() == [1] * night.n_frames
    assert np.std(night.residual(curve)) < 2.5 * night.noise


def test_without_comparison_stars_there_is_nothing() -> None:
    night = Night(n_stars=1)
    curve = night.curve()
    assert np.isnan(curve.diff_mag).all()
    assert np.isnan(curve.diff_mag_err).all()
    assert curve.comparisons == ()


def test_frames_without_the_target_or_without_the_others_are_nan() -> None:
    night = Night()
    night.mag[4, 0] = np.nan
    night.mag[9, 1:] = np.nan
    curve = night.curve()
    assert np.flatnonzero(np.isnan(curve.diff_mag)).tolist() == [4, 9]
    assert curve.n_stars[9] == 0


def test_a_target_that_was_never_measured() -> None:
    night = Night()
    night.mag[:, 0] = np.nan
    assert np.isnan(night.curve().diff_mag).all()


def test_stars_without_a_common_frame_have_no_common_zero() -> None:
    night = Night(n_stars=9)
    night.mag[30:, 1:6] = np.nan
    night.mag[:30, 6:] = np.nan
    curve = night.curve()
    assert np.isfinite(curve.diff_mag[:30]).all()
    assert np.isnan(curve.diff_mag[30:]).all()
    assert _comparison(curve, 7).reason == "no frame in common with the others"


def test_negative_fluxes_are_no_magnitudes() -> None:
    night = Night()
    flux = night.flux
    flux[3, 0] = -5.0
    flux[5, 4] = 0.0
    curve = ensemble_curve(flux, np.abs(flux) * 0.004, 0)
    assert np.flatnonzero(np.isnan(curve.diff_mag)).tolist() == [3]


def test_the_same_input_gives_the_same_answer_in_any_order_of_stars() -> None:
    night = Night()
    night.mag[:, 5] += 0.15 * np.sin(night.time * 9)
    first, again = night.curve(), night.curve()
    assert np.array_equal(first.diff_mag, again.diff_mag)
    assert first.comparisons == again.comparisons
    order = np.concatenate([[0], 1 + np.random.default_rng(0).permutation(night.n_stars - 1)])
    night.mag, night.sigma = night.mag[:, order], night.sigma[order]
    assert night.curve().diff_mag == pytest.approx(first.diff_mag, abs=1e-9)
