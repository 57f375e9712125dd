"""The simultaneous fit against photutils, and its errors against truth."""

import numpy as np
import pytest
from astropy.table import QTable
from photutils.psf import ImagePSF, PSFPhotometry

from nightflow.sources.psf.fit import FIT_FWHM, FitPixels, fit_stars
from nightflow.sources.psf.model import moffat_psf
from nightflow.sources.stellar_profile import StellarProfile
from tests.unit.sources.psf.skies import READ_NOISE, SKY, lone_stars

SIDE = 240
PSF = moffat_psf(StellarProfile(3.0, 3.5), 4.5, (SIDE, SIDE))


def pixels_of(x, y, flux, seed):
    rng = np.random.default_rng(seed)
    data = rng.poisson(PSF.image(x, y, flux) + SKY) - SKY + rng.normal(0, READ_NOISE, (SIDE, SIDE))
    noise = np.full(data.shape, SKY + READ_NOISE**2, np.float32)
    return FitPixels(data=data.astype(np.float32), noise=noise, least=50.0)


def shifted(values, seed, by=0.2):
    return values + np.random.default_rng(seed).normal(0, by, len(values))


def test_gives_the_fluxes_places_and_errors_of_photutils():
    stars = lone_stars(SIDE, 1)
    pixels = pixels_of(stars.x, stars.y, stars.flux, 2)
    ours = fit_stars(pixels, PSF, stars.x, stars.y)
    size = 2 * int(np.ceil(FIT_FWHM * PSF.fwhm)) + 1
    error = np.sqrt(pixels.noise + PSF.image(ours.x, ours.y, ours.flux))
    photometry = PSFPhotometry(ImagePSF(PSF.sampled(120, 120, 4), oversampling=4), fit_shape=(size, size))
    start = QTable({"x": stars.x, "y": stars.y, "flux": stars.flux})
    theirs = photometry(pixels.data, error=error, init_params=start)
    # They fit to a square, we to the circle in it: the corners hold a few per cent of what the pixels tell.
    assert np.median(np.abs(ours.flux - theirs["flux_fit"]) / ours.flux_err) < 0.15
    assert np.median(np.hypot(ours.x - theirs["x_fit"], ours.y - theirs["y_fit"]) / ours.x_err) < 0.25
    np.testing.assert_allclose(ours.flux_err, theirs["flux_err"], rtol=0.05)
    np.testing.assert_allclose(ours.x_err, theirs["x_err"], rtol=0.05)


def test_errors_of_flux_and_place_are_true():
    pulls = []
    for seed in range(10):
        stars = lone_stars(SIDE, seed, faint=600)
        fits = fit_stars(pixels_of(stars.x, stars.y, stars.flux, seed), PSF, shifted(stars.x, 8), stars.y)
        pulls.append(
            np.stack(
                [
                    (fits.flux - stars.flux) / fits.flux_err,
                    (fits.x - stars.x) / fits.x_err,
                    (fits.y - stars.y) / fits.y_err,
                ]
            )
        )
    chi2 = np.mean(np.concatenate(pulls, axis=1) ** 2, axis=1)
    assert chi2 == pytest.approx(1, abs=0.15)  # of 810 stars: 0.05
    assert np.abs(np.mean(np.concatenate(pulls, axis=1), axis=1)).max() < 0.15


def test_errors_of_blends_hold_what_the_neighbour_may_take():
    """Pairs 1 FWHM apart: one star's flux is free to go to the other."""
    stars = lone_stars(SIDE, 3, faint=2e4, bright=2.1e4)
    x, y, flux = np.append(stars.x, stars.x + 3.0), np.tile(stars.y, 2), np.tile(stars.flux, 2)
    pulls, alone = [], fit_stars(pixels_of(stars.x, stars.y, stars.flux, 1), PSF, stars.x, stars.y)
    for seed in range(4):
        fits = fit_stars(pixels_of(x, y, flux, seed), PSF, shifted(x, 5, 0.1), shifted(y, 6, 0.1))
        pulls.append((fits.flux - flux) / fits.flux_err)
    assert np.mean(np.concatenate(pulls) ** 2) == pytest.approx(1, abs=0.2)
    assert np.median(fits.flux_err) > 1.3 * np.median(alone.flux_err)


def test_a_chain_of_stars_is_one_group_and_none_is_the_worse_for_it():
    """A lattice of stars 1.5 FWHM apart, in which all share pixels: no group is too large."""
    y, x = (one.ravel() for one in np.mgrid[20 : SIDE - 20 : 4.5, 20 : SIDE - 20 : 4.5])
    flux = np.full(len(x), 8000.0)
    fits = fit_stars(pixels_of(x, y, flux, 4), PSF, shifted(x, 5, 0.1), shifted(y, 6, 0.1))
    assert len(x) > 1500
    assert np.mean(((fits.flux - flux) / fits.flux_err) ** 2) == pytest.approx(1, abs=0.15)
    assert abs(np.mean(fits.flux / flux) - 1) < 0.002


def test_a_pixel_that_must_not_count_does_not():
    stars = lone_stars(SIDE, 1)
    pixels = pixels_of(stars.x, stars.y, stars.flux, 2)
    clean = fit_stars(pixels, PSF, stars.x, stars.y)
    row, column = int(np.rint(stars.y[5])), int(np.rint(stars.x[5])) + 1
    pixels.data[row, column] += 5e5
    pixels.noise[row, column] = np.inf
    fits = fit_stars(pixels, PSF, stars.x, stars.y)
    assert abs(fits.flux[5] - clean.flux[5]) < 3 * fits.flux_err[5]
    assert fits.flux_err[5] > clean.flux_err[5]


def test_a_star_without_pixels_is_said_to_be_uncovered():
    stars = lone_stars(SIDE, 1)
    pixels = pixels_of(stars.x, stars.y, stars.flux, 2)
    row, column = int(np.rint(stars.y[5])), int(np.rint(stars.x[5]))
    pixels.noise[row - 2 : row + 3, column - 2 : column + 3] = np.inf
    fits = fit_stars(pixels, PSF, stars.x, stars.y)
    assert not fits.covered[5]
    assert fits.flux[5] == 0
    assert np.delete(fits.covered, 5).all()


def test_no_stars_are_no_fits():
    assert len(fit_stars(pixels_of(*np.empty((3, 0)), 1), PSF, np.empty(0), np.empty(0))) == 0
