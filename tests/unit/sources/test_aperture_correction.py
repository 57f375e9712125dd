import numpy as np
import pytest

from nightflow.sources.aperture_correction import aperture_correction
from nightflow.sources.stellar_profile import StellarProfile
from tests.unit.sources.test_stellar_profile import moffat_stars

PROFILE = StellarProfile(fwhm=3.1, beta=2.8)


def correct(image, x, y, stars=None, radius=4.5):
    return aperture_correction(
        image,
        np.zeros(image.shape, bool),
        x,
        y,
        np.ones(len(x), bool) if stars is None else stars,
        PROFILE,
        radius,
    )


def test_factor_is_that_of_the_profile():
    image, x, y, _ = moffat_stars(3.0, count=12, noise=1.0, seed=9)
    found = correct(image, x, y)
    expected = StellarProfile(fwhm=3.0, beta=2.8)
    assert found.n_stars >= 5
    assert found.factor == pytest.approx(expected.enclosed(12.4) / expected.enclosed(4.5), abs=0.01)
    assert 0 < found.error < 0.02
    assert found.warning == ""


def test_too_few_stars_leave_it_to_the_profile():
    image, x, y, _ = moffat_stars(3.0, count=12, noise=1.0, seed=9)
    found = correct(image, x, y, np.zeros(12, bool))
    assert found.n_stars == 0
    assert np.isnan(found.error)
    assert found.factor == pytest.approx(PROFILE.enclosed(12.4) / PROFILE.enclosed(4.5))


def faint_stars(seed, noise):
    image, x, y, _ = moffat_stars(3.0, count=60, noise=noise, seed=seed)
    nobody = np.zeros(60, bool)
    return aperture_correction(
        image, np.zeros(image.shape, bool), x, y, nobody, PROFILE, 4.5, faint=np.ones(60, bool)
    )


def test_faint_stars_serve_where_no_bright_one_is():
    expected = StellarProfile(fwhm=3.0, beta=2.8)
    truth = expected.enclosed(12.4) / expected.enclosed(4.5)
    found = [faint_stars(seed, noise=20.0) for seed in range(12)]
    assert all(one.n_stars >= 5 for one in found)
    assert all("faint" in one.warning for one in found)
    pulls = np.array([(one.factor - truth) / one.error for one in found])
    assert np.std([one.factor for one in found]) < 0.02
    assert abs(np.mean(pulls)) < 1.5
    assert 0.5 < np.std(pulls) < 2


def test_faint_stars_that_are_too_noisy_leave_it_to_the_profile():
    found = faint_stars(1, noise=400.0)
    assert found.n_stars == 0
    assert "from the fitted profile" in found.warning


def test_it_never_takes_light_away():
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 5, (300, 300)).astype(np.float32)
    x, y = rng.uniform(30, 270, 9), rng.uniform(30, 270, 9)
    assert correct(noise, x, y).factor >= 1


def test_how_far_the_light_of_a_star_reaches_is_a_setting():
    image, x, y, _ = moffat_stars(3.0, count=12, noise=1.0, seed=9)
    everywhere = np.ones(12, bool), PROFILE, 4.5, 2.5
    found = aperture_correction(image, np.zeros(image.shape, bool), x, y, *everywhere)
    expected = StellarProfile(fwhm=3.0, beta=2.8)
    # The sky is taken far out: the star's own wings, taken for sky, would cost another 1 %.
    assert found.factor == pytest.approx(expected.enclosed(7.75) / expected.enclosed(4.5), abs=0.005)
    assert found.factor < correct(image, x, y).factor - 0.01
