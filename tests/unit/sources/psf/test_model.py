import numpy as np
import pytest

from nightflow.sources.psf.kernels import accumulate, predict
from nightflow.sources.psf.model import aperture_sums, moffat_psf
from nightflow.sources.stellar_profile import StellarProfile

SHAPE = (90, 120)
PROFILE = StellarProfile(3.0, 3.0)


@pytest.fixture(scope="module")
def psf():
    return moffat_psf(PROFILE, 4.5, SHAPE)


def test_a_moffat_psf_is_the_moffat_profile(psf):
    x, y, flux = np.array([60.3]), np.array([44.8]), np.array([1.0])
    image = psf.image(x, y, flux)
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    r2 = (xx - 60.3) ** 2 + (yy - 44.8) ** 2
    alpha2 = 1.5**2 / (2 ** (1 / 3.0) - 1)
    expected = (1 + r2 / alpha2) ** -3.0 * 2 / (np.pi * alpha2) / PROFILE.enclosed(4.5)
    near = r2 < 11**2
    assert np.abs(image - expected)[near].max() < 1e-3 * expected.max()
    assert (image[r2 > psf.radius**2] == 0).all()


def test_the_light_in_the_aperture_is_1_wherever_the_star_falls(psf):
    import sep

    x, y = np.array([30.0, 60.5, 90.25]), np.array([30.5, 60.0, 44.75])
    for one in range(3):
        image = psf.image(x[one : one + 1], y[one : one + 1], np.array([1.0]))
        light = sep.sum_circle(image, x[one : one + 1], y[one : one + 1], 4.5, subpix=0)[0]
        assert light[0] == pytest.approx(1, abs=0.004)


def test_a_star_at_the_edge_is_cut_off_not_moved(psf):
    whole = psf.image(np.array([5.2]), np.array([7.7]), np.array([1.0]))
    part = psf.image(np.array([5.2]), np.array([7.7]), np.array([1.0]), (10, 8))
    np.testing.assert_array_equal(part, whole[:10, :8])


@pytest.mark.parametrize("oversampling", [1, 3])
def test_sampled_is_the_psf_between_the_pixels(psf, oversampling):
    fine = psf.sampled(60.0, 45.0, oversampling)
    half = fine.shape[0] // 2
    image = psf.image(np.array([60.0]), np.array([45.0]), np.array([1.0]))
    assert fine[half, half] == pytest.approx(image[45, 60])
    assert fine[half + 2 * oversampling, half] == pytest.approx(image[47, 60])


def test_accumulate_is_the_transpose_of_predict():
    rng = np.random.default_rng(3)
    nodes, size, n = 33, 9, 4
    coefficients, terms = rng.normal(size=(3, nodes, nodes)), rng.normal(size=(n, 3))
    x, y = rng.uniform(4, 5, n), rng.uniform(4, 5, n)
    corner, pixels = np.zeros((n, 2), np.intp), rng.normal(size=(n, size, size))
    forward = (predict(coefficients, terms, x, y, corner, 2, size) * pixels).sum()
    back = (accumulate(pixels, terms, x, y, corner, 2, nodes) * coefficients).sum()
    assert forward == pytest.approx(back, rel=1e-10)


def test_aperture_sums_of_all_nodes_are_the_circle():
    # The coefficients of a constant spline of 1 are all 1.
    assert aperture_sums(61, 2, 5.0).sum() == pytest.approx(np.pi * 25, rel=0.002)
