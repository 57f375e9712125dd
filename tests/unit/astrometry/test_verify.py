from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import poisson

from nightflow.astrometry.plate import plate_from_wcs
from nightflow.astrometry.refine import heldout_rms, radial_rms, refine
from nightflow.astrometry.solution import SolveRequest
from nightflow.astrometry.verify import examine, faults, log_false_alarm, rms_limit
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.synthetic import (
    SCALE,
    SHAPE,
    make_request,
    make_stars,
    make_wcs,
    on_frame,
    worst_error,
)

SETTINGS = AstrometrySettings(scale=SCALE)
STARS = make_stars(80.0, 10.0, 2.0, 700)
WCS = make_wcs(80.0, 10.0, rotation=15.0)
NOISE = 0.3


@pytest.fixture(scope="module")
def request_():
    return make_request(WCS, STARS, noise=NOISE, fakes=0.2)


@pytest.fixture(scope="module")
def fit(request_):
    return refine(plate_from_wcs(WCS, SHAPE), request_, STARS, start_radius=8.0, final_radius=1.5)


@pytest.fixture(scope="module")
def evidence(fit, request_):
    return examine(fit, request_, STARS, hypotheses=1000)


def test_truth_passes(evidence, request_):
    assert faults(evidence, request_, SETTINGS) == []
    assert evidence.log_false_alarm < -20.0
    assert evidence.n_matched <= evidence.n_expected


def test_rms_is_that_of_the_noise(fit):
    # radial: two coordinates of sigma = NOISE pixels each
    expected = np.sqrt(2.0) * NOISE * SCALE
    assert radial_rms(fit) == pytest.approx(expected, rel=0.25)
    assert heldout_rms(fit) > radial_rms(fit)


def test_refinement_recovers_from_a_poor_guess(request_):
    poor = plate_from_wcs(make_wcs(80.004, 10.003, rotation=15.3, scale=1.003 * SCALE), SHAPE)
    fit = refine(poor, request_, STARS, start_radius=12.0, final_radius=1.5)
    assert worst_error(fit.plate.to_wcs(), WCS) < 1.5


def test_outliers_are_left_out(request_):
    x = request_.x.copy()
    x[::10] += 4.0
    fit = refine(
        plate_from_wcs(WCS, SHAPE), replace(request_, x=x), STARS, start_radius=5.0, final_radius=5.0
    )
    assert worst_error(fit.plate.to_wcs(), WCS) < 1.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_matched": 5, "n_expected": 5}, "5 stars matched, 6 needed"),
        ({"heldout_rms_arcsec": 2.5}, r'scatter by 2\.50", limit 2\.00"'),
        ({"heldout_rms_arcsec": float("nan")}, "scatter by nan"),
        ({"n_expected": 500}, "of 500 expected stars"),
        ({"log_false_alarm": -3.0}, "log false-alarm probability -3.0"),
        ({"scale": 1.2 * SCALE}, "off the camera's"),
        ({"shear": 0.1}, "skewed by 10.0 %"),
    ],
)
def test_each_fault_is_named(evidence, request_, change, words):
    found = faults(replace(evidence, **change), request_, SETTINGS)
    assert len(found) == 1
    assert re.search(words, found[0])


@pytest.mark.parametrize(("n", "mean"), [(1, 0.5), (4, 0.1), (10, 3.0), (30, 2.0)])
def test_false_alarm_is_the_poisson_tail(n, mean):
    expected = np.log10(poisson.sf(n - 1, mean)) + 2.0
    assert log_false_alarm(n, mean, 100) == pytest.approx(expected, abs=1e-6)


def test_false_alarm_far_below_the_smallest_float():
    value = log_false_alarm(400, 0.5, 1)
    assert np.isfinite(value)
    assert value == pytest.approx(poisson.logpmf(400, 0.5) / np.log(10.0), rel=1e-3)


def test_no_star_beyond_the_free_parameters_proves_nothing():
    assert log_false_alarm(0, 0.1, 1000) == pytest.approx(3.0)


def test_a_right_solution_stands_before_a_deep_catalogue():
    """20,000 catalogue stars on the frame, of which the frame shows the brightest 150."""
    deep = make_stars(80.0, 10.0, 0.7, 56_000)
    deep = deep.take(np.argsort(deep.mags["G"]))
    request = make_request(WCS, deep.take(np.arange(450)), noise=NOISE, fakes=0.2)
    fit = refine(plate_from_wcs(WCS, SHAPE), request, deep, start_radius=8.0, final_radius=1.5)
    evidence = examine(fit, request, deep, hypotheses=100_000)
    assert evidence.n_matched > 0.6 * len(request.x)
    assert evidence.chance_matches < 5.0
    assert faults(evidence, request, SETTINGS) == []


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_no_star_of_the_corners_is_lost_to_distortion(seed):
    distorted = make_wcs(80.0, 10.0, rotation=15.0, distortion=8.0)
    near = make_stars(80.0, 10.0, 1.2, 450, seed=seed)
    request = make_request(distorted, near, noise=0.05, complete=1.0, fakes=0.0, reach=0.8)
    guess = plate_from_wcs(make_wcs(80.001, 10.001, rotation=15.2), SHAPE)
    fit = refine(guess, request, near, start_radius=13.0, final_radius=1.5)
    assert fit.plate.order == 3
    assert len(fit) > 0.97 * len(request.x)
    assert worst_error(fit.plate.to_wcs(), distorted) < 0.2 * SCALE


def test_precise_stars_weigh_more():
    errors = np.where(np.arange(len(STARS)) % 2, 0.02, 1.0)
    x, y = on_frame(WCS, STARS)
    errors = errors[: len(x)]
    rng = np.random.default_rng(3)
    x, y = x + errors * rng.normal(size=len(x)), y + errors * rng.normal(size=len(x))
    known = SolveRequest(
        x=x, y=y, flux=np.full(len(x), 1e4), position_error=errors, shape=SHAPE, ra=80.0, dec=10.0,
        hint_error=1.0, scale=SCALE, scale_tolerance=0.05, parity=0, epoch=2016.0,
    )  # fmt: skip
    worst = []
    for request in (known, replace(known, position_error=None)):
        fit = refine(plate_from_wcs(WCS, SHAPE), request, STARS, start_radius=8.0, final_radius=3.0)
        worst.append(worst_error(fit.plate.to_wcs(), WCS))
    assert worst[0] < 0.05 * SCALE
    assert worst[0] < 0.3 * worst[1]


def test_an_error_that_is_no_number_is_replaced(request_):
    errors = np.full(len(request_.x), np.nan)
    errors[::2] = 0.0
    fit = refine(
        plate_from_wcs(WCS, SHAPE),
        replace(request_, position_error=errors),
        STARS,
        start_radius=8.0,
        final_radius=1.5,
    )
    assert worst_error(fit.plate.to_wcs(), WCS) < 1.0


def test_chance_is_counted_where_the_stars_are(fit):
    """A cluster of 200 on 200: shifted across the frame it meets nothing, shifted a little it does."""
    rng = np.random.default_rng(1)
    where = rng.normal([500.0, 400.0], 25.0, (200, 2))
    ra, dec = WCS.all_pix2world(*rng.normal([500.0, 400.0], 25.0, (200, 2)).T, 0)
    cluster = replace(STARS.take(np.arange(200)), ra=ra, dec=dec)
    request = replace(make_request(WCS, STARS), x=where[:, 0], y=where[:, 1], flux=np.full(200, 100.0))
    assert examine(fit, request, cluster, hypotheses=1).chance_matches > 10.0


def test_a_dense_frame_matches_by_chance(fit):
    rng = np.random.default_rng(1)
    n = 30000
    crowd = replace(
        make_request(WCS, STARS), x=rng.uniform(0, 999, n), y=rng.uniform(0, 799, n), flux=np.full(n, 100.0)
    )
    crowded = examine(fit, crowd, STARS, hypotheses=1)
    assert crowded.chance_matches > 0.1 * crowded.n_expected


COARSE = 21.0
"""Arcsec per pixel: a telephoto lens."""
COARSE_SETTINGS = AstrometrySettings(scale=COARSE)


def coarse_evidence(noise):
    """Return the evidence for a true solution of coarse pixels, with centroids off by ``noise`` pixels."""
    stars = make_stars(80.0, 10.0, 6.0, 1500)
    wcs = make_wcs(80.0, 10.0, rotation=15.0, scale=COARSE)
    request = make_request(wcs, stars, noise=noise, fakes=0.2, reach=8.0, scale=COARSE)
    guess = plate_from_wcs(wcs, SHAPE)
    fitted = refine(guess, request, stars, start_radius=8.0, final_radius=1.5)
    return examine(fitted, request, stars, hypotheses=1000), request


def test_coarse_pixels_are_judged_by_the_pixel():
    """A quarter of a pixel is good, though it is 7 arcsec."""
    evidence, request = coarse_evidence(0.25)
    assert evidence.heldout_rms_arcsec > 5.0
    assert faults(evidence, request, COARSE_SETTINGS) == []


def test_coarse_pixels_are_judged_all_the_same():
    evidence, request = coarse_evidence(0.6)
    assert re.search(
        r'left-out stars scatter by .*, limit 12\.6\d"', faults(evidence, request, COARSE_SETTINGS)[0]
    )


@pytest.mark.parametrize(
    ("scale", "asked", "limit"), [(0.4, None, 2.0), (3.0, None, 2.0), (21.0, None, 12.6), (21.0, 5.0, 5.0)]
)
def test_limit_of_the_scatter(scale, asked, limit):
    assert rms_limit(AstrometrySettings(maximum_rms=asked), scale) == pytest.approx(limit)
