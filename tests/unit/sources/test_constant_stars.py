"""Constant stars of a night: they scatter as photons and air allow in this aperture, and errors are true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nightflow.instruments.profile import PhotometrySettings
from nightflow.simulate.optics import radius_squared
from nightflow.simulate.plan import CameraPlan
from nightflow.sources import measure as measure_module
from tests.unit.sources.constant_stars import ConstantNight, NightMeasured, measured

KNOWN = PhotometrySettings(telescope_aperture=0.5)
_MAG = 2.5 / np.log(10.0)


class Residuals:
    """Each star against the others of its frame: leave-one-out, weighted by the errors that are stated."""

    def __init__(self, night: NightMeasured) -> None:
        self.err = _MAG * night.flux_err / night.flux
        good = np.isfinite(self.err) & (night.flags == 0)
        offset = np.where(good, -2.5 * np.log10(night.flux / night.true_flux), 0.0)
        weight = np.where(good, 1.0 / self.err**2, 0.0)
        star = (weight * offset).sum(axis=0) / weight.sum(axis=0)
        for _ in range(30):
            frame = (weight * (offset - star)).sum(axis=1) / weight.sum(axis=1)
            star = (weight * (offset - frame[:, None])).sum(axis=0) / weight.sum(axis=0)
        others = weight.sum(axis=1, keepdims=True) - weight
        residual = offset - star
        rest = ((weight * residual).sum(axis=1, keepdims=True) - weight * residual) / others
        # A star's own mean has taken one degree of freedom.
        freedom = len(offset) / (len(offset) - 1)
        self.value = np.where(good, (residual - rest) * np.sqrt(freedom), np.nan)
        self.variance = self.err**2 + 1.0 / others
        self.used = good & (night.flux > 10 * night.flux_err)
        self.mag = -2.5 * np.log10(night.true_flux)

    def chi2(self, cell: NDArray[np.bool_]) -> tuple[float, int]:
        """Return chi-squared for each degree of freedom, and how many there are."""
        rows = self.used & np.broadcast_to(cell, self.used.shape)
        return float(np.mean(self.value[rows] ** 2 / self.variance[rows])), int(rows.sum())

    def cells(self, night: ConstantNight, places: NightMeasured) -> dict[str, NDArray[np.bool_]]:
        """Return the stars of each magnitude and of each quarter of the frame."""
        first = np.floor(self.mag.min())
        cells = {
            f"magnitude {low:g}": (self.mag >= low) & (self.mag < low + 1)
            for low in np.arange(first, self.mag.max(), 1.0)
        }
        right, upper = places.x > night.side / 2, places.y > night.side / 2
        for name, one in (("right", right), ("left", ~right)):
            cells |= {f"{name} upper": one & upper, f"{name} lower": one & ~upper}
        return cells


def _check(night: ConstantNight, least: int) -> None:
    stars = measured(night, KNOWN)
    residuals = Residuals(stars)
    overall, freedom = residuals.chi2(np.ones(night.n_stars, bool))
    assert freedom >= 3000
    assert overall == pytest.approx(1.0, abs=0.1)
    for name, cell in residuals.cells(night, stars).items():
        value, freedom = residuals.chi2(cell)
        if freedom >= least:
            # The bar is 0.1 for 3,000 degrees of freedom and more; fewer scatter by chance.
            bar = 0.1 if freedom >= 3000 else 0.1 + 3.0 * np.sqrt(2.0 / freedom)
            assert value == pytest.approx(1.0, abs=bar), (name, value, freedom)
    scatter = np.sqrt(np.nanmean(np.where(residuals.used, residuals.value, np.nan) ** 2, axis=0))
    physical = np.sqrt(np.nanmean(np.where(residuals.used, residuals.err, np.nan) ** 2, axis=0))
    for low in np.arange(np.floor(residuals.mag.min()), residuals.mag.max(), 1.0):
        bin_ = (residuals.mag >= low) & (residuals.mag < low + 1) & np.isfinite(scatter)
        if bin_.sum() >= 8:
            assert np.median(scatter[bin_] / physical[bin_]) < 1.2
    _check_bias(night, stars)


def _check_bias(night: ConstantNight, stars: NightMeasured) -> None:
    """Flux against what came: relative to the frame, bias at high S/N below 2 mmag, centre to corner 5."""
    signal_to_noise = np.nanmedian(stars.flux / stars.flux_err, axis=0)
    ratio = 2.5 * np.log10(stars.flux / stars.expected)
    common = np.nanmedian(ratio[:, signal_to_noise > 200])
    per_star = np.nanmedian(ratio, axis=0) - common
    assert abs(np.median(per_star[signal_to_noise > 100])) < 0.002
    faint = (signal_to_noise > 12) & (signal_to_noise < 60)
    assert abs(np.mean(per_star[faint])) < 0.25 * np.median(_MAG / signal_to_noise[faint])
    r2 = radius_squared(CameraPlan(shape=night.shape), stars.x, stars.y)
    bright = signal_to_noise > 150
    centre, corner = np.median(per_star[bright & (r2 < 0.15)]), np.median(per_star[bright & (r2 > 0.5)])
    assert abs(centre - corner) < 0.005


def test_errors_are_true_and_the_scatter_is_physical() -> None:
    _check(ConstantNight(), least=700)


def test_one_factor_for_the_whole_field_would_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stars of this night are 30 % wider in the corners: what the polynomial takes off is not small."""
    real = measure_module.aperture_correction
    monkeypatch.setattr(
        measure_module, "aperture_correction", lambda *a, **k: replace(real(*a, **k), field=None)
    )
    night = ConstantNight(n_frames=3)
    with pytest.raises(AssertionError):
        _check_bias(night, measured(night, KNOWN))


def test_without_the_aperture_of_the_telescope_bright_stars_scatter_more_than_is_said() -> None:
    night = ConstantNight(n_frames=12, faintest=2e5)
    known, unknown = (Residuals(measured(night, one)) for one in (KNOWN, PhotometrySettings()))
    everything = np.ones(night.n_stars, bool)
    assert known.chi2(everything)[0] < 1.25
    assert unknown.chi2(everything)[0] > 1.15 * known.chi2(everything)[0]


@pytest.mark.soak
@pytest.mark.parametrize("seed", [8, 9])
def test_a_whole_night(seed: int) -> None:
    _check(ConstantNight(n_frames=150, n_stars=170, side=640, faintest=4e3, seed=seed), least=3000)
