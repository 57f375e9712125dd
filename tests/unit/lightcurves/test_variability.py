from __future__ import annotations

from dataclasses import replace
from time import process_time

import numpy as np
import pytest

from nightflow.lightcurves.period import find_period
from nightflow.lightcurves.variability import Doubt, doubt_of, judge, relative_width, star_statistics


def test_statistics_are_those_of_their_formulas() -> None:
    mag, error = np.array([0.1, -0.2, 0.3, 0.0]), np.array([0.1, 0.1, 0.2, 0.1])
    found = star_statistics(mag, error)
    mean = np.average(mag, weights=error**-2)
    assert found.chi2 == pytest.approx(np.sum(((mag - mean) / error) ** 2))
    assert found.chi2_dof == pytest.approx(found.chi2 / 3)
    assert found.scatter == pytest.approx(1.4826 * np.median(np.abs(mag - np.median(mag))), rel=1e-4)
    assert found.von_neumann == pytest.approx(np.mean(np.diff(mag) ** 2) / np.var(mag, ddof=1))
    scaled = np.sqrt(4 / 3) * (mag - mean) / error
    pairs = scaled[:-1] * scaled[1:]
    assert found.stetson_j == pytest.approx(np.mean(np.sign(pairs) * np.sqrt(np.abs(pairs))))
    assert (found.n, found.error) == (4, pytest.approx(0.1))


def test_noise_has_the_values_of_noise() -> None:
    rng = np.random.default_rng(1)
    found = star_statistics(rng.normal(0, 0.02, 20_000), np.full(20_000, 0.02))
    assert found.chi2_dof == pytest.approx(1.0, abs=0.03)
    assert found.stetson_j == pytest.approx(0.0, abs=0.02)
    assert found.von_neumann == pytest.approx(2.0, abs=0.05)
    assert found.scatter == pytest.approx(0.02, rel=0.03)
    assert found.amplitude == pytest.approx(2 * 1.645 * 0.02, rel=0.03)


def _field(rng: np.random.Generator, n_stars: int = 400, n: int = 60, inflation: float = 1.0):
    mag = rng.uniform(12, 18, n_stars)
    error = 0.003 * 10 ** (0.2 * (mag - 12))
    curves = rng.normal(0, inflation * error[:, None], (n_stars, n))
    return mag, error, curves


@pytest.mark.parametrize("inflation", [1.0, 1.8])
def test_constant_stars_do_not_vary_even_where_all_errors_are_too_small(inflation: float) -> None:
    rng = np.random.default_rng(2)
    mag, error, curves = _field(rng, inflation=inflation)
    stars = [star_statistics(curve, np.full(60, one)) for curve, one in zip(curves, error, strict=True)]
    judged = judge(stars, mag)
    assert judged.variable.sum() == 0
    assert np.nanmedian(judged.expected / (inflation * error)) == pytest.approx(1.0, abs=0.05)


def test_a_sine_and_a_short_eclipse_are_found() -> None:
    rng = np.random.default_rng(3)
    mag, error, curves = _field(rng)
    time = np.linspace(0, 0.3, 60)
    sine, eclipse = (int(np.argmin(np.abs(mag - one))) for one in (14.0, 13.0))
    curves[sine] += 0.1 * np.sin(2 * np.pi * time / 0.11)
    curves[eclipse, 40:48] += 0.08
    stars = [star_statistics(curve, np.full(60, one)) for curve, one in zip(curves, error, strict=True)]
    judged = judge(stars, mag)
    assert np.flatnonzero(judged.variable).tolist() == sorted([sine, eclipse])
    assert judged.excess[sine] > 5 > judged.excess[eclipse]


def test_what_is_in_doubt_is_not_judged_and_judges_no_other() -> None:
    rng = np.random.default_rng(12)
    mag, error, curves = _field(rng)
    sine = int(np.argmin(np.abs(mag - 14.0)))
    curves[sine] += 0.1 * np.sin(np.linspace(0, 17, 60))
    doubts = [Doubt.NONE] * len(mag)
    # A third of the stars are blends that scatter ten times as much, all of the same brightness as it.
    blends = np.argsort(np.abs(mag - 14.0))[1::3][:40]
    curves[blends] *= 10.0
    for one in blends:
        doubts[one] = Doubt.WIDE
    stars = [star_statistics(curve, np.full(60, one)) for curve, one in zip(curves, error, strict=True)]
    judged = judge(stars, mag, doubts)
    assert np.flatnonzero(judged.variable).tolist() == [sine]
    assert judged.expected[sine] == pytest.approx(error[sine], rel=0.2)
    doubts[sine] = Doubt.EDGE
    assert not judge(stars, mag, doubts).variable.any()


@pytest.mark.parametrize(
    ("contaminated", "near_edge", "width", "doubt"),
    [
        (0.0, 0.0, 1.0, Doubt.NONE),
        (0.2, 0.2, 1.25, Doubt.NONE),
        (0.0, 0.0, None, Doubt.NONE),
        (0.3, 0.0, 1.0, Doubt.NEIGHBOUR),
        (0.0, 0.3, 1.0, Doubt.EDGE),
        (0.0, 0.0, 1.35, Doubt.WIDE),
        (0.0, 1.0, 9.0, Doubt.EDGE),
    ],
)
def test_why_a_star_is_not_judged(
    contaminated: float, near_edge: float, width: float | None, doubt: Doubt
) -> None:
    assert doubt_of(contaminated, near_edge, width) is doubt


def test_too_few_stars_or_measurements_are_no_ground_to_say_so() -> None:
    rng = np.random.default_rng(4)
    mag, error, curves = _field(rng, n_stars=12)
    curves[3] += np.linspace(0, 1, 60)
    stars = [star_statistics(curve, np.full(60, one)) for curve, one in zip(curves, error, strict=True)]
    assert not judge(stars, mag).variable.any()
    few = [star_statistics(curve[:5], np.full(5, one)) for curve, one in zip(curves, error, strict=True)]
    assert not judge(few, mag).variable.any()
    assert not judge([], np.empty(0)).variable.any()


def test_a_hundred_thousand_stars_are_compared_with_all_of_their_brightness_in_no_time() -> None:
    # For each star anew the medians of thousands of others take a minute.
    rng = np.random.default_rng(11)
    mag = rng.uniform(12, 18, 100_000)
    scatter = 0.003 * 10 ** (0.2 * (mag - 12)) * rng.uniform(0.8, 1.2, len(mag))
    usual = star_statistics(rng.normal(0, 0.01, 60), np.full(60, 0.01))
    stars = [replace(usual, error=one, scatter=one) for one in scatter]
    start = process_time()
    judged = judge(stars, mag)
    assert process_time() - start < 4.0
    some = np.flatnonzero(np.abs(mag - 15) < 2.7)[::1000]
    there = [scatter[np.abs(mag - one) < 0.25] for one in mag[some]]
    median = np.array([np.median(one) for one in there])
    spread = np.array([1.4826 * np.median(np.abs(one - np.median(one))) for one in there])
    np.testing.assert_allclose(judged.expected[some], median, rtol=0.01)
    np.testing.assert_allclose(judged.excess[some], (scatter[some] - median) / spread, atol=0.05)


def test_the_period_comes_with_an_honest_error() -> None:
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(60):
        time = 2461100.0 + np.sort(rng.uniform(0, 0.35, 90))
        mag = 0.08 * np.cos(2 * np.pi * time / 0.1) + rng.normal(0, 0.02, 90)
        found = find_period(time, mag, np.full(90, 0.02))
        assert found is not None
        assert found.false_alarm < 1e-6
        pulls.append((found.days - 0.1) / found.error)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.35)
    assert abs(np.mean(pulls)) < 0.5


def test_noise_has_no_period() -> None:
    rng = np.random.default_rng(6)
    time = np.sort(rng.uniform(0, 0.35, 90))
    found = find_period(time, rng.normal(0, 0.02, 90), np.full(90, 0.02))
    assert found is not None
    assert found.false_alarm > 1e-3
    assert find_period(time, np.cos(2 * np.pi * time / 0.6), np.full(90, 0.02)) is None
    assert find_period(time[:5], np.zeros(5), np.ones(5)) is None
    assert find_period(np.zeros(20), np.zeros(20), np.ones(20)) is None


def _nights(rng: np.random.Generator, n_nights: int, each: int, length: float = 0.3) -> np.ndarray:
    """Return times of some measurements in each of many nights, days."""
    return np.sort((np.arange(n_nights)[:, None] + rng.uniform(0, length, (n_nights, each))).ravel())


def _pulls(times: list[np.ndarray], period: float, rng: np.random.Generator, noise: float) -> np.ndarray:
    pulls = []
    for time in times:
        mag = 0.08 * np.cos(2 * np.pi * time / period + 1.0) + rng.normal(0, noise, len(time))
        found = find_period(2461100.0 + time, mag, np.full(len(time), noise))
        assert found is not None
        pulls.append((found.days - period) / found.error)
    return np.array(pulls)


@pytest.mark.parametrize(
    ("n_nights", "each", "noise"),
    [(200, 6, 0.02), (200, 1, 0.02), (1500, 1, 0.02), (200, 6, 0.0002)],
    ids=["many a night", "one a night", "four years", "hardly any noise"],
)
def test_a_period_of_a_third_of_a_day_over_many_nights(n_nights: int, each: int, noise: float) -> None:
    rng = np.random.default_rng(7)
    times = [_nights(rng, n_nights, each) for _ in range(2 if n_nights > 1000 else 10)]
    pulls = _pulls(times, 0.3, rng, noise)
    assert np.abs(pulls).max() < 4.5
    assert 0.5 < np.sqrt(np.mean(pulls**2)) < 1.6


def test_a_short_period_in_dense_nights_years_apart_is_not_passed_between_two_samples() -> None:
    rng = np.random.default_rng(8)
    nights = [3650.0 * k + np.sort(rng.uniform(0, 0.3, 150)) for k in (0.0, 0.1, 0.35, 0.7, 1.0)]
    time = np.concatenate(nights)
    mag = 0.08 * np.cos(2 * np.pi * time / 0.0213) + rng.normal(0, 0.01, len(time))
    found = find_period(time, mag, np.full(len(time), 0.01))
    assert found is not None
    # Of the aliases of so wide gaps any may be the highest: they are as far apart as cycles in the gaps.
    assert found.days == pytest.approx(0.0213, rel=2e-4)
    assert found.amplitude == pytest.approx(0.08, rel=0.05)


def test_the_error_follows_from_when_the_measurements_were_made() -> None:
    # One night with all but a few of them: the span is long, but the long arm carries little weight.
    rng = np.random.default_rng(9)
    times = [
        np.sort(np.concatenate([rng.uniform(0, 0.35, 190), rng.uniform(1.0, 1.2, 4)])) for _ in range(40)
    ]
    pulls = _pulls(times, 0.11, rng, 0.01)
    assert 0.7 < np.sqrt(np.mean(pulls**2)) < 1.35


def test_times_as_regular_as_a_clock_tell_no_period_below_twice_their_step() -> None:
    rng = np.random.default_rng(10)
    time = np.arange(200.0)
    found = find_period(
        time, 0.08 * np.cos(2 * np.pi * time / 0.3) + rng.normal(0, 0.01, 200), np.full(200, 0.01)
    )
    assert found is not None
    assert found.days >= 2.0


def test_a_star_is_as_wide_as_others_of_its_brightness():
    """Of faint stars all are wide; one that is wider than they, and a bright one that is wide, stand out."""
    mag = np.linspace(10.0, 18.0, 160)
    width = np.where(mag > 16.0, 1.5, 1.0)
    width[[20, 150]], width[40], width[60] = [1.5, 2.2], 0.8, np.nan
    found = relative_width(mag, width)
    assert np.flatnonzero(found > 1.3).tolist() == [20, 150]
    assert found[40] == pytest.approx(0.8)
    assert np.isnan(found[60])
    few = relative_width(mag[:3], np.array([1.0, 1.5, 1.0]))
    assert few.tolist() == [1.0, 1.5, 1.0]
