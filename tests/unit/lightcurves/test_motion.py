from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from nightflow.lightcurves.motion import Plane, fit_line


@pytest.mark.parametrize(("ra", "dec"), [(132.8, 41.8), (0.001, -12.0), (200.0, 89.7), (10.0, -90.0)])
def test_the_plane_is_the_gnomonic_one(ra: float, dec: float) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.cd = np.eye(2) / 3600.0
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-4000, 4000, (2, 50))
    sky = wcs.wcs_pix2world(x, y, 0)
    # The reference pixel of this WCS is 0 in FITS, -1 counted from 0.
    found = Plane(ra, dec).project(sky[0], sky[1])
    np.testing.assert_allclose(found, (x + 1, y + 1), atol=1e-6)
    back = Plane(ra, dec).lift(*found)
    np.testing.assert_allclose(
        (back[0] - sky[0] + 180) % 360 - 180, 0.0, atol=1e-9 / np.cos(np.radians(89.99))
    )
    np.testing.assert_allclose(back[1], sky[1], atol=1e-9)


def test_rates_and_their_errors_are_honest() -> None:
    rng = np.random.default_rng(2)
    t = np.linspace(0, 3, 12)
    pulls = []
    for _ in range(400):
        sigma = rng.uniform(0.05, 0.4, len(t))
        x = 5.0 + 14.5 * t + rng.normal(0, sigma)
        y = -2.0 - 3.8 * t + rng.normal(0, sigma)
        line = fit_line(t, x, y, sigma, clip=False)
        pulls.append([(line.rate_x - 14.5) / line.rate_err, (line.rate_y + 3.8) / line.rate_err])
    spread = np.std(pulls, axis=0)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.2)
    # The errors grow where the places scatter by chance, so they are a little too large on average.
    assert np.all((spread > 0.8) & (spread < 1.08))


def test_errors_grow_with_a_scatter_that_the_places_do_not_know() -> None:
    rng = np.random.default_rng(3)
    t = np.linspace(0, 3, 40)
    x, y = 10.0 * t + rng.normal(0, 0.5, 40), rng.normal(0, 0.5, 40)
    told, known = (fit_line(t, x, y, np.full(40, one), clip=False) for one in (0.05, 0.5))
    assert told.rate_err == pytest.approx(known.rate_err, rel=0.15)
    assert told.rms == pytest.approx(0.5 * np.sqrt(2), rel=0.2)


def test_a_place_that_is_off_is_left_out() -> None:
    t = np.linspace(0, 3, 15)
    x, y = 10.0 * t, 2.0 * t
    x[7] += 4.0
    line = fit_line(t, x, y, np.full(15, 0.1))
    assert line.kept.tolist() == [row != 7 for row in range(15)]
    assert (line.rate_x, line.rate_y) == pytest.approx((10.0, 2.0))
    assert line.position_angle == pytest.approx(np.degrees(np.arctan2(10.0, 2.0)))


@pytest.mark.parametrize(("bend", "n", "told"), [(0.0, 7, 0.3), (12.0, 6, 0.1)])
def test_what_stands_moves_no_more_often_than_chance_says(bend: float, n: int, told: float) -> None:
    """Also where the line is curved: what moves there and back is at rest in the middle."""
    rng = np.random.default_rng(4)
    t = np.linspace(0, 3, n)
    there = 0.5 * bend * (t - t.mean()) ** 2
    lines = [
        fit_line(t, there + rng.normal(0, 0.3, n), rng.normal(0, 0.3, n), np.full(n, told), clip=False)
        for _ in range(6000)
    ]
    assert np.mean([line.is_curved == (bend > 0) for line in lines]) > 0.99
    chance = np.array([line.chance for line in lines])
    # A probability is as often below any level as the level says; its logarithm is 1 on average.
    assert (chance < 0.01).sum() == pytest.approx(60, abs=4 * np.sqrt(60))
    assert -np.log(chance).mean() == pytest.approx(1.0, abs=3.0 / np.sqrt(6000))


@pytest.mark.parametrize("curved", [False, True])
def test_a_place_at_one_moment_is_that_of_the_arrays(curved):
    rng = np.random.default_rng(7)
    t = np.sort(rng.uniform(-3.0, 3.0, 12))
    x = 14.0 * t + (3.0 * t**2 if curved else 0.0) + rng.normal(0.0, 0.05, 12)
    y = -4.0 * t + rng.normal(0.0, 0.05, 12)
    line = fit_line(t, x, y, np.full(12, 0.05))
    assert line.is_curved is curved
    for moment in (-5.0, float(t[0]), 0.3, 9.0):
        at = np.array([moment])
        there = (*(float(one[0]) for one in line.at(at)), float(line.error_at(at)[0]))
        assert line.place_at(moment) == pytest.approx(there, rel=1e-12, abs=1e-12)
