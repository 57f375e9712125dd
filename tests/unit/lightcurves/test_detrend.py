"""Trends go, events stay."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nightflow.lightcurves.detrend import detrend, detrended_curve
from nightflow.lightcurves.light_curve import COLUMNS, LightCurve

HOURS = np.linspace(-2.5, 2.5, 120)
NOISE = 0.003


def night(seed: int, event: NDArray[np.float64], slope: float = 0.02, **others: float) -> dict[str, NDArray]:
    """Return a curve of five hours that follows the airmass, and what it may follow."""
    rng = np.random.default_rng(seed)
    columns = {
        "airmass": 1.0 + 0.06 * (HOURS + 0.8) ** 2,
        "x": 500.0 + 3.0 * HOURS + rng.normal(0.0, 0.5, len(HOURS)),
        "y": 400.0 - 1.0 * HOURS + rng.normal(0.0, 0.5, len(HOURS)),
        "fwhm_px": 3.0 + 0.3 * np.sin(1.7 * HOURS) + rng.normal(0.0, 0.1, len(HOURS)),
    }
    trend = slope * (columns["airmass"] - 1.2)
    for name, one in others.items():
        trend = trend + one * (columns[name] - columns[name].mean())
    return columns | {"mag": event + trend + rng.normal(0.0, NOISE, len(HOURS))}


def transit(depth: float = 0.015, half_hours: float = 1.1) -> NDArray[np.float64]:
    """Return the magnitudes of a transit with slopes of a quarter of an hour."""
    edge = np.clip((half_hours - np.abs(HOURS)) / 0.25, 0.0, 1.0)
    return -2.5 * np.log10(1.0 - depth * edge)


def depth_of(mag: NDArray[np.float64]) -> float:
    inside, outside = np.abs(HOURS) < 0.8, np.abs(HOURS) > 1.15
    return float(np.mean(mag[inside]) - np.mean(mag[outside])) / 1.0857


def run(curve: dict[str, NDArray], event: NDArray[np.bool_] | None = None):
    columns = {name: curve[name] for name in ("airmass", "x", "y", "fwhm_px")}
    return detrend(curve["mag"], np.full(len(HOURS), NOISE), columns, event)


@pytest.mark.parametrize("with_times", [True, False])
def test_an_injected_transit_keeps_its_depth(with_times: bool) -> None:
    event = np.abs(HOURS) < 1.1
    changes = []
    for seed in range(20):
        curve = night(seed, transit(), slope=0.0)
        done = run(curve, event if with_times else None)
        changes.append(depth_of(done.mag) - depth_of(curve["mag"]))
    assert np.abs(np.mean(changes)) < 0.0003
    assert np.quantile(np.abs(changes), 0.9) < 0.001


def test_a_trend_goes_and_the_transit_stays() -> None:
    depths, raw = [], []
    for seed in range(20):
        curve = night(seed, transit(), slope=0.03, fwhm_px=0.01)
        done = run(curve, np.abs(HOURS) < 1.1)
        assert {"airmass", "fwhm_px"} <= {term.name for term in done.terms}
        depths.append(depth_of(done.mag))
        raw.append(depth_of(curve["mag"]))
    assert np.mean(depths) == pytest.approx(0.015, abs=0.0005)
    assert abs(np.mean(raw) - 0.015) > 0.001


def test_slopes_pull_as_their_errors_say() -> None:
    pulls = []
    for seed in range(60):
        done = run(night(seed, np.zeros(len(HOURS)), slope=0.03))
        (airmass,) = [term for term in done.terms if term.name == "airmass"]
        pulls.append((airmass.slope - 0.03) / airmass.slope_err)
    assert abs(np.mean(pulls)) < 0.45
    assert 0.7 < np.std(pulls) < 1.35


def test_where_there_is_no_trend_nothing_is_taken_off() -> None:
    taken = [len(run(night(seed, np.zeros(len(HOURS)), slope=0.0)).terms) for seed in range(40)]
    assert np.mean(taken) < 0.35


def test_errors_hold_that_of_the_trend_and_gaps_stay_gaps() -> None:
    curve = night(3, np.zeros(len(HOURS)), slope=0.05)
    curve["mag"][5], curve["airmass"][7] = np.nan, np.nan
    done = run(curve)
    assert np.isnan(done.mag[[5, 7]]).all()
    assert np.isfinite(np.delete(done.mag, [5, 7])).all()
    rest = np.delete(done.mag_err, [5, 7])
    assert (rest > NOISE).all()
    assert rest.max() < 2 * NOISE
    assert np.median(done.mag[done.outside]) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_few_points_have_no_trend(n: int) -> None:
    columns = {"airmass": np.linspace(1.0, 2.0, n)}
    done = detrend(np.linspace(0.0, 1.0, n), np.full(n, 0.01), columns)
    assert done.terms == ()
    assert len(done.mag) == n


def test_a_light_curve_is_detrended_filter_by_filter_and_says_so() -> None:
    parts = {"R": night(1, transit(), slope=0.03), "V": night(2, transit(), slope=-0.05)}
    n = 2 * len(HOURS)
    columns = {one.name: np.zeros(n) if one.dtype is float else np.zeros(n, one.dtype) for one in COLUMNS}
    for name in ("airmass", "x", "y", "fwhm_px", "mag"):
        values = np.concatenate([part[name] for part in parts.values()])
        columns["diff_mag" if name == "mag" else name] = values
    columns["filter"] = np.repeat(["R", "V"], len(HOURS))
    columns["bjd_tdb"] = 2461000.0 + np.tile(HOURS, 2) / 24.0
    columns["diff_mag_err"] = np.full(n, NOISE)
    done = detrended_curve(
        LightCurve(columns=columns), ["airmass"], (2461000.0 - 1.1 / 24.0, 2461000.0 + 1.1 / 24.0)
    )
    for name in parts:
        assert depth_of(done["diff_mag"][done["filter"] == name]) == pytest.approx(0.015, abs=0.001)
    assert "R: airmass 0.03" in done.meta["detrended"]
    assert "V: airmass -0.05" in done.meta["detrended"]
    assert (done["diff_mag_err"] > NOISE).all()
