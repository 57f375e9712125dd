"""Trends go, events stay."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nightflow.lightcurves.detrend import TERMS, Detrended, detrend, detrended_curve
from nightflow.lightcurves.field_trends import FieldCurves, FieldTrend, field_trends
from nightflow.lightcurves.light_curve import COLUMNS, LightCurve
from nightflow.lightcurves.linear_fit import linear_fit

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


def transit_at(hours: float) -> NDArray[np.float64]:
    """Return the same transit at another time: in part, or not at all, within the night."""
    edge = np.clip((1.1 - np.abs(HOURS - hours)) / 0.25, 0.0, 1.0)
    return -2.5 * np.log10(1.0 - 0.015 * edge)


def depth_of(mag: NDArray[np.float64]) -> float:
    inside, outside = np.abs(HOURS) < 0.8, np.abs(HOURS) > 1.15
    return float(np.mean(mag[inside]) - np.mean(mag[outside])) / 1.0857


SPREADS = {"airmass": 0.02, "x": 0.0005, "y": 0.0005, "fwhm_px": 0.007}
"""How much the slopes of stars differ, magnitudes per unit, where a field has trends at all."""


def field(seed: int, spreads: dict[str, float], n_stars: int = 16, noise: float = 0.003) -> FieldCurves:
    """Return comparison stars whose slopes are drawn about 0 with these spreads, and that do nothing else."""
    rng = np.random.default_rng(1000 + seed)
    shape = (len(HOURS), n_stars)
    columns = {name: np.empty(shape) for name in TERMS}
    residual = rng.normal(0.0, noise, shape)
    for star in range(n_stars):
        # The air and the seeing are the target's, the place within the pixel is the star's own.
        own, common = night(1000 * seed + star, np.zeros(len(HOURS))), night(seed, np.zeros(len(HOURS)))
        for name in TERMS:
            column = (common if name in ("airmass", "fwhm_px") else own)[name]
            columns[name][:, star] = column
            residual[:, star] += rng.normal(0.0, spreads.get(name, 0.0)) * (column - column.mean())
    return FieldCurves(residual=residual, error=np.full(shape, noise), columns=columns)


def run(
    curve: dict[str, NDArray],
    event: NDArray[np.bool_] | None = None,
    *,
    spreads: dict[str, float] | None = None,
    seed: int = 0,
    names: tuple[str, ...] = TERMS,
) -> Detrended:
    stars = field_trends(field(seed, SPREADS if spreads is None else spreads), names)
    columns = {name: curve[name] for name in names}
    return detrend(curve["mag"], np.full(len(HOURS), NOISE), columns, stars, event)


EVENTS = {
    "full transit": transit(),
    "ingress only": transit_at(2.5),
    "egress only": transit_at(-2.5),
    "long transit": transit(half_hours=2.3),
    "pulsator": 0.02 * np.sin(2 * np.pi * HOURS / 3.0 + 0.5),
    "slow pulsator": 0.02 * np.sin(2 * np.pi * HOURS / 6.0 + 0.5),
    "RR Lyrae": 0.1 * np.sin(2 * np.pi * HOURS / 12.0 + 0.5),
    "fading": 0.02 * (HOURS + 2.5) / 5.0,
}


def kept(event: NDArray[np.float64], curve: dict[str, NDArray], done: Detrended) -> float:
    """Return the part of the event that is left, free of the noise, which is the same before and after."""
    return 1.0 + float(np.polyfit(event, done.mag - curve["mag"], 1)[0])


@pytest.mark.parametrize("name", list(EVENTS))
def test_what_the_comparison_stars_do_not_show_is_left_alone(name: str) -> None:
    parts = []
    for seed in range(8):
        curve = night(seed, EVENTS[name], slope=0.0)
        parts.append(kept(EVENTS[name], curve, run(curve, spreads={}, seed=seed)))
    assert np.abs(np.array(parts) - 1.0).max() < 0.01


def test_a_slope_out_of_place_is_refused_and_named() -> None:
    # The stars follow x by 0.1 mmag a pixel, the fading would be 1.3.
    curve = night(1, EVENTS["fading"], slope=0.0)
    done = run(curve, spreads={"x": 0.0001}, seed=1, names=("x",))
    assert done.terms == ()
    assert "its own slope of 0.00" in done.refused["x"]
    assert "16 comparison stars" in done.refused["x"]
    assert kept(EVENTS["fading"], curve, done) == pytest.approx(1.0, abs=1e-9)


def test_without_comparison_stars_nothing_is_taken_off() -> None:
    curve = night(1, np.zeros(len(HOURS)), slope=0.05)
    few = field_trends(field(1, SPREADS, n_stars=3), TERMS)
    done = detrend(curve["mag"], np.full(len(HOURS), NOISE), {"airmass": curve["airmass"]}, few)
    assert few == {}
    assert done.refused == {"airmass": "too few comparison stars with enough points"}
    assert np.ptp(done.mag - curve["mag"]) < 1e-12


def test_the_spread_of_slopes_is_found_beside_a_variable_and_noise_alone_has_none() -> None:
    spreads, none = [], 0
    for seed in range(20):
        stars = field(seed, {"airmass": 0.02})
        stars.residual[:, 3] += 0.3 * (stars.columns["airmass"][:, 3] - 1.2)
        found = field_trends(stars, TERMS)
        spreads.append(found["airmass"].spread)
        none += sum(found[name].shown for name in ("x", "y", "fwhm_px"))
        assert found["airmass"].n_stars == 15
    assert np.mean(spreads) == pytest.approx(0.02, rel=0.15)
    assert none <= 2


def test_a_slope_that_all_stars_have_is_the_target_s_too() -> None:
    # All stars lose 2 mmag a pixel of x, each on its own way over the chip.
    stars = field(2, {})
    stars.residual[:] += 0.002 * (stars.columns["x"] - 500.0)
    trend = field_trends(stars, ("x",))["x"]
    assert trend.mean == pytest.approx(0.002, abs=4 * trend.mean_err)
    assert trend.spread == 0.0
    curve = night(2, np.zeros(len(HOURS)), slope=0.0, x=0.002)
    done = detrend(curve["mag"], np.full(len(HOURS), NOISE), {"x": curve["x"]}, {"x": trend})
    assert np.std(done.mag) == pytest.approx(NOISE, rel=0.2)
    assert np.std(curve["mag"]) > 2 * NOISE


@pytest.mark.parametrize("with_times", [True, False])
def test_an_injected_transit_keeps_its_depth(with_times: bool) -> None:
    event = np.abs(HOURS) < 1.1
    changes = []
    for seed in range(20):
        curve = night(seed, transit(), slope=0.0)
        done = run(curve, event if with_times else None, spreads={}, seed=seed)
        changes.append(depth_of(done.mag) - depth_of(curve["mag"]))
    assert np.abs(np.mean(changes)) < 0.00015
    assert np.quantile(np.abs(changes), 0.9) < 0.001


def test_a_trend_goes_and_the_transit_stays() -> None:
    depths, raw = [], []
    for seed in range(20):
        curve = night(seed, transit(), slope=0.03, fwhm_px=0.01)
        done = run(curve, np.abs(HOURS) < 1.1, seed=seed)
        assert {"airmass", "fwhm_px"} <= {term.name for term in done.terms}
        depths.append(depth_of(done.mag))
        raw.append(depth_of(curve["mag"]))
    assert np.mean(depths) == pytest.approx(0.015, abs=0.0005)
    assert abs(np.mean(raw) - 0.015) > 0.001


def test_where_trends_are_taken_off_the_errors_say_how_well() -> None:
    before, after = [], []
    for seed in range(16):
        slope = float(np.random.default_rng(seed).normal(0.0, 0.02))
        curve = night(seed, np.zeros(len(HOURS)), slope=slope)
        done = run(curve, seed=seed)
        # The level is free: it is that of the mean, here and there.
        after.append(np.mean(((done.mag - done.mag.mean()) / done.mag_err) ** 2))
        before.append(np.mean(((curve["mag"] - curve["mag"].mean()) / NOISE) ** 2))
    assert np.mean(before) > 2
    assert 0.8 < np.mean(after) < 1.2


def test_slopes_pull_as_their_errors_say() -> None:
    pulls = []
    for seed in range(24):
        slope = float(np.random.default_rng(seed).normal(0.0, 0.02))
        done = run(night(seed, np.zeros(len(HOURS)), slope=slope), seed=seed, names=("airmass",))
        pulls += [(term.slope - slope) / term.slope_err for term in done.terms]
    assert len(pulls) > 20
    assert abs(np.mean(pulls)) < 0.45
    assert 0.7 < np.std(pulls) < 1.35


def test_the_own_points_count_less_where_they_err_together() -> None:
    """The errors of a fit to red noise hold it: fits to many such curves scatter as they say."""
    design = np.column_stack([np.ones(len(HOURS)), HOURS])
    slopes, errors = [], []
    for seed in range(200):
        white = np.random.default_rng(seed).normal(0.0, NOISE, len(HOURS) + 11)
        red = np.convolve(white, np.full(12, 1.0 / np.sqrt(12)), "valid")
        coefficients, covariance = linear_fit(design, red, np.full(len(HOURS), NOISE))
        slopes.append(coefficients[1])
        errors.append(np.sqrt(covariance[1, 1]))
    assert np.std(slopes) / np.median(errors) == pytest.approx(1.0, abs=0.4)
    plain = NOISE / np.sqrt(np.sum(HOURS**2))
    assert np.std(slopes) > 2 * plain


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
    known = {"airmass": FieldTrend(mean=0.0, mean_err=0.01, spread=0.05, n_stars=20)}
    done = detrend(np.linspace(0.0, 1.0, n), np.full(n, 0.01), columns, known)
    assert done.terms == ()
    assert done.refused == {"airmass": f"{n} points, 16 are needed"}
    assert len(done.mag) == n


def light_curve(parts: list[tuple[str, str, dict[str, NDArray]]]) -> LightCurve:
    """Return a light curve of parts, each of a chip and a filter."""
    n = len(parts) * len(HOURS)
    columns = {one.name: np.zeros(n) if one.dtype is float else np.zeros(n, one.dtype) for one in COLUMNS}
    for name in (*TERMS, "mag"):
        values = np.concatenate([part[name] for _, _, part in parts])
        columns["diff_mag" if name == "mag" else name] = values
    columns["detector"] = np.repeat([chip for chip, _, _ in parts], len(HOURS))
    columns["filter"] = np.repeat([name for _, name, _ in parts], len(HOURS))
    columns["instrument"] = np.full(n, "cam")
    columns["bjd_tdb"] = 2461000.0 + np.tile(HOURS, len(parts)) / 24.0
    columns["diff_mag_err"] = np.full(n, NOISE)
    return LightCurve(columns=columns)


def test_a_light_curve_is_detrended_filter_by_filter_and_says_so() -> None:
    parts = [("1", "R", night(1, transit(), slope=0.03)), ("1", "V", night(2, transit(), slope=-0.05))]
    stars = {("cam", "1", name): field(seed, {"airmass": 0.05}) for seed, name in ((1, "R"), (2, "V"))}
    event = 2461000.0 - 1.1 / 24.0, 2461000.0 + 1.1 / 24.0
    done = detrended_curve(light_curve(parts), ["airmass"], stars, event)
    for name in ("R", "V"):
        assert depth_of(done["diff_mag"][done["filter"] == name]) == pytest.approx(0.015, abs=0.001)
    assert "cam 1 R: airmass 0.029 +-" in done.meta["detrended"]
    assert "cam 1 V: airmass -0.05 +-" in done.meta["detrended"]
    assert (done["diff_mag_err"] > NOISE).all()
    without = detrended_curve(light_curve(parts), ["airmass"], {}, event)
    assert "cam 1 R: nothing" in without.meta["detrended"]
    assert "not airmass (too few comparison stars" in without.meta["detrended"]


def test_what_the_points_are_too_few_for_is_said() -> None:
    curve = light_curve([("1", "R", night(1, transit()))])
    short = curve.take(np.arange(len(curve))[:30])
    done = detrended_curve(short, ["airmass", "x", "y"], {})
    assert "not y (30 points, 32 are needed)" in done.meta["detrended"]


def test_chips_are_places_of_their_own() -> None:
    # The same slope on either chip, each about its own place: 1000 pixels between them are no drift.
    first = night(1, np.zeros(len(HOURS)), slope=0.0, x=0.001)
    second = night(2, np.zeros(len(HOURS)), slope=0.0, x=0.001)
    second["x"] = second["x"] + 1000.0
    stars = {("cam", chip, "R"): field(seed, {"x": 0.001}) for seed, chip in ((1, "1"), (2, "2"))}
    done = detrended_curve(light_curve([("1", "R", first), ("2", "R", second)]), ["x"], stars)
    for chip in ("1", "2"):
        assert np.std(done["diff_mag"][done["detector"] == chip]) == pytest.approx(NOISE, rel=0.15)
    assert np.std(first["mag"]) > 1.4 * NOISE
