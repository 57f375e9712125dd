from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightflow.astrometry.hint import solve_hint
from nightflow.astrometry.solution import Quality
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.synthetic import (
    SCALE,
    hint_off,
    make_request,
    make_stars,
    make_wcs,
    random_request,
    store,
    worst_error,
)

SETTINGS = AstrometrySettings(scale=SCALE)


@pytest.fixture(scope="module")
def stars() -> ReferenceStars:
    return make_stars(120.0, 35.0, 3.5, 2200)


@pytest.fixture(scope="module")
def catalogs(stars: ReferenceStars, tmp_path_factory: pytest.TempPathFactory) -> LocalCatalogs:
    return store(tmp_path_factory.mktemp("catalogs"), stars)


@pytest.mark.parametrize("parity", [1, -1])
@pytest.mark.parametrize("rotation", [0.0, 33.0, 90.0, 179.9, 271.0])
def test_any_rotation_and_parity(stars, catalogs, rotation, parity):
    wcs = make_wcs(120.1, 35.05, rotation=rotation, parity=parity)
    solution = solve_hint(make_request(wcs, stars), catalogs, SETTINGS)
    assert solution.quality is Quality.VERIFIED
    assert solution.parity == parity
    assert (solution.rotation - rotation + 180.0) % 360.0 == pytest.approx(180.0, abs=0.1)
    assert solution.scale == pytest.approx(SCALE, rel=1e-3)
    assert worst_error(solution.wcs, wcs) < 1.0
    assert solution.catalog == "made-up"


@pytest.mark.parametrize("towards", [10.0, 130.0, 250.0])
def test_hint_off_by_a_degree(stars, catalogs, towards):
    wcs = make_wcs(120.0, 35.0, rotation=77.0)
    request = hint_off(make_request(wcs, stars), 0.98, towards)
    assert worst_error(solve_hint(request, catalogs, SETTINGS).wcs, wcs) < 1.0


@pytest.mark.parametrize("error", [-0.05, 0.05])
def test_scale_off_by_five_percent(stars, catalogs, error):
    wcs = make_wcs(120.0, 35.0, scale=SCALE * (1.0 + error), rotation=200.0)
    solution = solve_hint(make_request(wcs, stars), catalogs, SETTINGS)
    assert solution.scale == pytest.approx(SCALE * (1.0 + error), rel=1e-3)


@pytest.mark.parametrize("error", [-0.149, -0.1, 0.1, 0.149])
def test_scale_off_by_fifteen_percent(stars, catalogs, error):
    wcs = make_wcs(120.0, 35.0, scale=SCALE * (1.0 + error), rotation=200.0)
    for seed in range(4):
        request = hint_off(make_request(wcs, stars, seed=seed, scale_tolerance=0.15), 0.3, 90.0 * seed)
        solution = solve_hint(request, catalogs, SETTINGS)
        assert solution.scale == pytest.approx(SCALE * (1.0 + error), rel=1e-3)


@pytest.mark.parametrize("towards", [20.0, 140.0, 260.0])
def test_hint_off_by_two_fields(stars, catalogs, towards):
    wcs = make_wcs(120.0, 35.0, rotation=77.0)
    fields = 2.0 * 1000 * SCALE / 3600.0
    request = hint_off(make_request(wcs, stars, hint_error=fields), 0.99 * fields, towards)
    assert worst_error(solve_hint(request, catalogs, SETTINGS).wcs, wcs) < 1.0


def test_hint_off_by_two_fields_of_a_wide_camera(tmp_path):
    scale = 30.0
    wcs = make_wcs(50.0, 20.0, scale=scale, rotation=10.0)
    stars = make_stars(50.0, 20.0, 35.0, 12000)
    fields = 2.0 * 1000 * scale / 3600.0
    request = make_request(wcs, stars, reach=12.0, hint_error=fields, scale=scale)
    request = hint_off(request, 0.99 * fields, 70.0)
    settings = AstrometrySettings(scale=scale, maximum_rms=20.0)
    assert worst_error(solve_hint(request, store(tmp_path, stars), settings).wcs, wcs) < 0.5 * scale


def test_everything_wrong_at_once(stars, catalogs):
    solved = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        wcs = make_wcs(
            120.0 + rng.uniform(-0.5, 0.5),
            35.0 + rng.uniform(-0.5, 0.5),
            scale=SCALE * rng.uniform(0.95, 1.05),
            rotation=rng.uniform(0, 360),
            parity=int(rng.choice([-1, 1])),
        )
        request = hint_off(make_request(wcs, stars, seed=seed), 0.9, rng.uniform(0, 360))
        solved += worst_error(solve_hint(request, catalogs, SETTINGS).wcs, wcs) < 1.0
    assert solved == 10


@pytest.mark.parametrize("place", [(0.02, 10.0), (359.97, -45.0), (30.0, 89.8), (200.0, -89.95)])
def test_poles_and_the_wrap_of_right_ascension(place, tmp_path):
    ra, dec = place
    stars = make_stars(ra, dec, 2.0, 800)
    wcs = make_wcs(ra, dec, rotation=120.0)
    request = hint_off(make_request(wcs, stars, hint_error=0.5), 0.4, 80.0)
    solution = solve_hint(request, store(tmp_path, stars), SETTINGS)
    assert worst_error(solution.wcs, wcs) < 1.0


def test_deep_catalogue_and_shallow_frame(tmp_path):
    stars = make_stars(50.0, -20.0, 2.0, 12000)
    wcs = make_wcs(50.0, -20.0, rotation=10.0)
    bright = stars.take(stars.mags["G"] < 11.0)
    request = hint_off(make_request(wcs, bright), 0.5, 45.0)
    assert worst_error(solve_hint(request, store(tmp_path, stars), SETTINGS).wcs, wcs) < 1.0


def test_catalogue_a_hundred_times_deeper_than_the_frame(tmp_path):
    stars = make_stars(50.0, -20.0, 1.2, 160_000)
    wcs = make_wcs(50.0, -20.0, rotation=10.0)
    bright = stars.take(np.argsort(stars.mags["G"])[:1600])
    request = hint_off(make_request(wcs, bright, hint_error=0.3, noise=0.3), 0.25, 45.0)
    assert worst_error(solve_hint(request, store(tmp_path, stars), SETTINGS).wcs, wcs) < 1.0


def test_distortion_of_three_percent_at_the_corners(tmp_path):
    stars = make_stars(50.0, -20.0, 1.6, 950)
    catalogs = store(tmp_path, stars)
    wcs = make_wcs(50.0, -20.0, rotation=10.0, distortion=8.0)
    for seed in range(4):
        request = hint_off(make_request(wcs, stars, seed=seed, noise=0.03, hint_error=0.5), 0.2, 90.0 * seed)
        assert worst_error(solve_hint(request, catalogs, SETTINGS).wcs, wcs) < 0.2 * SCALE


def test_distortion_is_modelled_where_there_are_stars_for_it(tmp_path):
    stars = make_stars(50.0, -20.0, 2.0, 4000)
    wcs = make_wcs(50.0, -20.0, rotation=10.0, distortion=3.0)
    request = make_request(wcs, stars, noise=0.05)
    solution = solve_hint(request, store(tmp_path, stars), SETTINGS)
    assert solution.wcs.sip is not None
    assert solution.heldout_rms_arcsec < 0.1 * SCALE
    assert worst_error(solution.wcs, wcs) < 0.5 * SCALE


def test_no_distortion_without_need(stars, catalogs):
    solution = solve_hint(make_request(make_wcs(120.0, 35.0), stars), catalogs, SETTINGS)
    assert solution.wcs.sip is None


def test_proper_motion_is_applied(tmp_path):
    stars = make_stars(50.0, 60.0, 2.0, 800)
    moving = replace(stars, pmra=np.full(len(stars), 400.0), pmdec=np.full(len(stars), -300.0))
    wcs = make_wcs(50.0, 60.0)
    request = make_request(wcs, moving.at_epoch(2026.0), epoch=2026.0)
    catalogs = store(tmp_path, moving)
    assert worst_error(solve_hint(request, catalogs, SETTINGS).wcs, wcs) < 0.5
    # ten years of half an arcsec a year: without the epoch the frame would be 5" off
    stale = solve_hint(replace(request, epoch=2016.0), catalogs, SETTINGS)
    assert worst_error(stale.wcs, wcs) == pytest.approx(5.0, abs=0.5)


@pytest.mark.parametrize("parity", [1, -1])
def test_parity_of_the_profile_is_kept(stars, catalogs, parity):
    wcs = make_wcs(120.0, 35.0, parity=1)
    request = make_request(wcs, stars, parity=parity)
    if parity == 1:
        assert solve_hint(request, catalogs, SETTINGS).parity == 1
    else:
        with pytest.raises(NoSolution, match="no transform verified"):
            solve_hint(request, catalogs, SETTINGS)


@pytest.mark.parametrize(
    "seeds", [range(15), pytest.param(range(15, 80), marks=pytest.mark.soak)], ids=["a few", "many"]
)
def test_random_stars_are_never_solved(catalogs, seeds):
    solved = []
    for seed in seeds:
        request = random_request(seed, 24 if seed % 5 else 45, ra=120.0, dec=35.0, hint_error=0.25)
        try:
            solved.append(solve_hint(request, catalogs, SETTINGS))
        except NoSolution:
            continue
    assert solved == []


def test_partly_outside_the_catalogue(stars, tmp_path):
    wcs = make_wcs(120.0, 35.0)
    half = stars.take(stars.ra > 120.0)
    request = make_request(wcs, stars, fakes=0.1)
    assert worst_error(solve_hint(request, store(tmp_path, half), SETTINGS).wcs, wcs) < 2.0


def test_time_limit_ends_the_search(catalogs):
    request = random_request(1, 200, ra=120.0, dec=35.0, hint_error=2.5, time_limit=0.05)
    with pytest.raises(NoSolution, match=r"time limit of 0\.05 s"):
        solve_hint(request, catalogs, SETTINGS)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"ra": None}, "no pointing hint"),
        ({"scale": None}, "scale unknown"),
        ({"ra": 300.0}, "fewer than 6 catalogue stars"),
    ],
)
def test_says_what_is_missing(stars, catalogs, known, words):
    request = replace(make_request(make_wcs(120.0, 35.0), stars), **known)
    with pytest.raises(NoSolution, match=words):
        solve_hint(request, catalogs, SETTINGS)


def test_too_few_detections(stars, catalogs):
    request = make_request(make_wcs(120.0, 35.0), stars)
    few = replace(request, x=request.x[:5], y=request.y[:5], flux=request.flux[:5])
    with pytest.raises(NoSolution, match="5 stars detected, 6 needed"):
        solve_hint(few, catalogs, SETTINGS)
