"""The PSF of a frame: true to stars that it was not built from, and as variable as the stars tell."""

from dataclasses import replace

import numpy as np
import pytest

from nightflow.simulate.plan import CameraPlan
from nightflow.simulate.render import paint_stars
from nightflow.sources.psf.build import build_psf
from nightflow.sources.psf.fit import FitPixels, fit_stars
from nightflow.sources.psf.model import moffat_psf
from nightflow.sources.psf.stars import choose_stars
from nightflow.sources.stellar_profile import StellarProfile
from tests.unit.sources.psf.skies import EVEN, READ_NOISE, SKY, WIDENING, Stars, frame_of, lone_stars

SIDE = 300
START = moffat_psf(StellarProfile(3.2, 3.5), 4.5, (SIDE, SIDE))


def built(stars, shape, rounds=2):
    data = frame_of(stars, SIDE, 5, shape).data - np.float32(SKY)
    pixels = FitPixels(data=data, noise=np.full(data.shape, SKY + READ_NOISE**2, np.float32), least=50.0)
    psf, check = START, None
    for _ in range(rounds):
        fits = fit_stars(pixels, psf, stars.x, stars.y)
        chosen = choose_stars(fits, psf, np.ones(len(stars), bool))
        found = build_psf(pixels, psf, fits, chosen)
        if found is None:
            return None, None
        psf, check = found
    return psf, check


def true_core(shape, x, y):
    """Return a star of the simulator in a stamp of 7 x 7 pixels, its light there being 1."""
    image = paint_stars(CameraPlan(shape=(SIDE, SIDE)), np.array([x]), np.array([y]), np.array([1e8]), shape)
    stamp = image[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4]
    return stamp / stamp.sum()


def core(psf, x, y):
    image = psf.image(np.array([x]), np.array([y]), np.array([1.0]))
    stamp = image[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4]
    return stamp / stamp.sum()


PLACES = [(150.0, 150.0), (30.0, 40.0), (265.0, 30.0), (40.0, 260.0)]


def test_follows_stars_that_widen_by_a_third_over_the_field():
    psf, check = built(lone_stars(SIDE, 2, faint=5e3), WIDENING)
    assert psf.n_terms == 7
    for place in PLACES:
        true = true_core(WIDENING, *place)
        assert np.abs(core(psf, *place) - true).max() < 0.06 * true.max(), place
    for place in PLACES[1:]:
        true = true_core(WIDENING, *place)
        assert np.abs(core(START, *place) - true).max() > 0.15 * true.max(), place
    assert check.error < 0.02
    assert 0.8 < check.chi2 < 1.4


@pytest.mark.parametrize(("n", "n_terms"), [(12, 1), (35, 3), (80, 6), (140, 7)])
def test_the_terms_are_what_the_number_of_stars_carries(n, n_terms):
    stars = lone_stars(SIDE, 2, faint=5e4, bright=1e5)
    rows = np.random.default_rng(1).permutation(len(stars))[:n]
    psf, check = built(Stars(stars.x[rows], stars.y[rows], stars.flux[rows]), EVEN, rounds=1)
    assert (psf.n_terms, check.n_stars) == (n_terms, n)


def test_stars_of_one_corner_tell_of_no_change_over_the_field():
    stars = lone_stars(SIDE, 2, faint=5e4, bright=1e5)
    rows = (stars.x < SIDE * 0.6) & (stars.y < SIDE * 0.6)
    psf, _ = built(Stars(stars.x[rows], stars.y[rows], stars.flux[rows]), EVEN, rounds=1)
    assert psf.n_terms < 6


def test_too_few_stars_make_no_psf():
    stars = lone_stars(SIDE, 2, faint=5e4, bright=1e5)
    assert built(Stars(stars.x[:4], stars.y[:4], stars.flux[:4]), EVEN) == (None, None)


def test_held_out_stars_tell_of_a_frame_that_has_two_kinds():
    """Every other star is twice as wide: no PSF fits, and the check must say so."""
    stars = lone_stars(SIDE, 2, faint=5e4, bright=1e5)
    wide = np.arange(len(stars)) % 2 == 0
    halves = [Stars(stars.x[rows], stars.y[rows], stars.flux[rows]) for rows in (wide, ~wide)]
    broad = replace(EVEN, fwhm=4.5)
    sharp, fuzzy = (
        frame_of(half, SIDE, 5, shape).data for half, shape in zip(halves, (EVEN, broad), strict=True)
    )
    data = sharp + fuzzy - np.float32(2 * SKY)
    pixels = FitPixels(data=data, noise=np.full(data.shape, 2 * SKY + 50, np.float32), least=50.0)
    fits = fit_stars(pixels, START, stars.x, stars.y)
    _, check = build_psf(pixels, START, fits, choose_stars(fits, START, np.ones(len(stars), bool)))
    assert check.error > 0.1
    assert check.chi2 > 5
