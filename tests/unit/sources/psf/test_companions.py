import numpy as np

from nightflow.sources.psf.companions import find_companions
from nightflow.sources.psf.fit import FitPixels, fit_stars
from nightflow.sources.psf.model import moffat_psf
from nightflow.sources.stellar_profile import StellarProfile
from tests.unit.sources.psf.skies import READ_NOISE, SKY, lone_stars

SIDE = 240
PSF = moffat_psf(StellarProfile(3.0), 4.5, (SIDE, SIDE))


def pixels_of(x, y, flux, seed=1):
    rng = np.random.default_rng(seed)
    data = rng.poisson(PSF.image(x, y, flux) + SKY) - SKY + rng.normal(0, READ_NOISE, (SIDE, SIDE))
    noise = np.full(data.shape, SKY + READ_NOISE**2, np.float32)
    return FitPixels(data=data.astype(np.float32), noise=noise, least=50.0)


def test_finds_the_fainter_of_each_pair():
    stars = lone_stars(SIDE, 1, faint=2e4, bright=5e4)
    x, y = np.append(stars.x, stars.x + 4.5), np.tile(stars.y, 2)
    pixels = pixels_of(x, y, np.append(stars.flux, 0.2 * stars.flux))
    fits = fit_stars(pixels, PSF, stars.x, stars.y)
    found_x, found_y = find_companions(pixels, PSF, fits, 0.0)
    distance = np.hypot(found_x[:, None] - x[len(stars) :], found_y[:, None] - y[len(stars) :])
    assert (distance.min(axis=0) < 2).mean() > 0.95


def test_finds_none_where_all_stars_are_known():
    stars = lone_stars(SIDE, 1)
    for seed in range(3):
        pixels = pixels_of(stars.x, stars.y, stars.flux, seed)
        fits = fit_stars(pixels, PSF, stars.x, stars.y)
        # One 5 sigma peak of noise is not expected in a hundred such frames.
        assert len(find_companions(pixels, PSF, fits, 0.0)[0]) == 0


def test_what_a_wrong_psf_leaves_is_no_star_where_its_error_is_known():
    stars = lone_stars(SIDE, 1, faint=1e5, bright=2e5)
    pixels = pixels_of(stars.x, stars.y, stars.flux)
    wrong = moffat_psf(StellarProfile(2.7), 4.5, (SIDE, SIDE))
    fits = fit_stars(pixels, wrong, stars.x, stars.y)
    assert len(find_companions(pixels, wrong, fits, 0.0)[0]) > 10
    assert len(find_companions(pixels, wrong, fits, 0.2)[0]) == 0


def test_bad_pixels_are_no_stars():
    stars = lone_stars(SIDE, 1)
    pixels = pixels_of(stars.x, stars.y, stars.flux)
    fits = fit_stars(pixels, PSF, stars.x, stars.y)
    pixels.data[98:103, 98:103] = 3e4
    pixels.noise[99:102, 99:102] = np.inf
    x, y = find_companions(pixels, PSF, fits, 0.0)
    assert not (np.hypot(x - 100, y - 100) < 1.5).any()
