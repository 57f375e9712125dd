import numpy as np
import pytest
import sep

from nightflow.simulate.optics import StarShape
from nightflow.simulate.plan import CameraPlan
from nightflow.simulate.render import paint_stars
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


def test_one_factor_holds_everywhere_where_stars_are_alike():
    image, x, y, _ = moffat_stars(3.0, count=60, noise=1.0, seed=4)
    found = correct(image, x, y)
    assert found.field is None
    factor, error = found.at(np.array([0.0, 300.0]), np.array([5.0, 100.0]))
    assert (factor == found.factor).all()
    assert (error == 0).all()


def widening(count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return an image of stars that are 30 % wider in the corners, their places and true fluxes."""
    rng = np.random.default_rng(seed)
    shape, step = (600, 600), 48
    rows, columns = np.divmod(np.arange(count), 11)
    x = 40.0 + columns * step + rng.uniform(-3, 3, count)
    y = 40.0 + rows * step + rng.uniform(-3, 3, count)
    flux = rng.uniform(5e4, 5e5, count)
    camera = CameraPlan(shape=shape)
    star = StarShape(fwhm=3.0, ellipticity=0.0, angle=0.0, beta=2.8, field_growth=0.3)
    image = paint_stars(camera, x, y, flux, star) + rng.normal(0, 10, shape)
    return image.astype(np.float32), x, y, flux


def test_what_changes_over_the_field_is_taken_off():
    image, x, y, flux = widening(120)
    found = correct(image, x, y)
    assert found.field is not None
    assert found.field.order == 2
    factor, error = found.at(x, y)
    inside = sep.sum_circle(image, x, y, 4.5, subpix=0)[0]
    ratio = inside * factor / flux
    assert np.std(ratio) < 0.004
    assert np.std(inside / flux) > 0.012
    assert (error < 0.003).all()
    assert (
        factor[np.hypot(x - 300, y - 300) > 330].min() > 1.03 * factor[np.hypot(x - 300, y - 300) < 80].max()
    )


def test_beyond_the_stars_the_edge_holds():
    image, x, y, _ = widening(120)
    found = correct(image, x, y)
    far, near = (
        found.at(np.array([-500.0]), np.array([300.0])),
        found.at(np.array([x.min()]), np.array([300.0])),
    )
    assert far == near


def test_few_stars_or_stars_on_one_side_tell_of_no_change():
    image, x, y, _ = widening(17)
    assert correct(image, x, y).field is None
    image, x, y, _ = widening(120)
    assert correct(image, x, y, x < 250).field is None
