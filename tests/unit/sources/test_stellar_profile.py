import numpy as np
import pytest

from nightflow.sources.stellar_profile import StellarProfile, stacked_profile


def moffat_stars(fwhm, beta=2.8, count=40, noise=3.0, seed=4):
    """Moffat stars integrated over the pixels on a 5 times finer grid."""
    rng = np.random.default_rng(seed)
    size, fine = 400, 5
    x, y = rng.uniform(30, size - 30, count), rng.uniform(30, size - 30, count)
    flux = rng.uniform(5e3, 5e4, count)
    alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / beta) - 1)
    image = rng.normal(0, noise, (size, size))
    offsets = (np.arange(31 * fine) + 0.5) / fine - 15.5
    for x0, y0, total in zip(x, y, flux, strict=True):
        column, row = round(x0), round(y0)
        dx, dy = offsets + column - x0, offsets + row - y0
        stamp = (1 + (dx[None, :] ** 2 + dy[:, None] ** 2) / alpha2) ** -beta
        stamp *= total * (beta - 1) / (np.pi * alpha2) / fine**2
        image[row - 15 : row + 16, column - 15 : column + 16] += stamp.reshape(31, fine, 31, fine).sum((1, 3))
    return image.astype(np.float32), x, y, flux


@pytest.mark.parametrize("fwhm", [2.5, 3.0, 4.0, 6.0])
def test_width_is_that_of_the_profile_seen_through_pixels(fwhm):
    image, x, y, flux = moffat_stars(fwhm)
    # The pixel widens a profile by about 1/12 px^2 in the second moment.
    seen = np.hypot(fwhm, 2.3548 / np.sqrt(12))
    assert stacked_profile(image, x, y, flux, 1.3 * fwhm).fwhm == pytest.approx(seen, rel=0.05)


def test_a_given_exponent_is_held():
    image, x, y, flux = moffat_stars(3.0, beta=4.5)
    found = stacked_profile(image, x, y, flux, 3.5, beta=3.0)
    assert found.beta == 3.0
    assert found.fwhm == pytest.approx(np.hypot(3.0, 2.3548 / np.sqrt(12)), rel=0.05)
    assert stacked_profile(image, x, y, flux, 3.5).beta > 3.5


def test_without_a_star_the_first_guess_stands():
    none = np.empty(0)
    empty = np.zeros((50, 50), np.float32)
    assert stacked_profile(empty, none, none, none, 3.3).fwhm == 3.3
    assert np.isnan(stacked_profile(empty, none, none, none, float("nan")).fwhm)


def test_enclosed_light_of_a_moffat_profile():
    profile = StellarProfile(fwhm=3.0, beta=2.8)
    alpha2 = 1.5**2 / (2 ** (1 / 2.8) - 1)
    r = np.linspace(0, 6, 60001)
    inside = np.trapezoid(2 * np.pi * r * (1.8 / (np.pi * alpha2)) * (1 + r**2 / alpha2) ** -2.8, r)
    assert profile.enclosed(6.0) == pytest.approx(inside, abs=1e-6)
