import numpy as np

from nightflow.sources.psf.fit import StarFits
from nightflow.sources.psf.model import moffat_psf
from nightflow.sources.psf.stars import choose_stars
from nightflow.sources.stellar_profile import StellarProfile
from tests.unit.sources.psf.skies import lone_stars

PSF = moffat_psf(StellarProfile(3.0), 4.5, (300, 300))


def fits_of(x, y, flux):
    n = len(x)
    small, yes = np.full(n, 0.01), np.ones(n, bool)
    return StarFits(
        x=x, y=y, flux=flux, x_err=small, y_err=small, flux_err=np.full(n, 50.0), chi2=np.ones(n),
        covered=yes, moved=~yes,
    )  # fmt: skip


def test_takes_bright_unflagged_stars_from_all_over_the_frame():
    stars = lone_stars(300, 1, faint=1e4)
    unflagged = np.arange(len(stars)) % 5 > 0
    chosen = choose_stars(fits_of(stars.x, stars.y, stars.flux), PSF, unflagged)
    assert set(chosen) == set(np.flatnonzero(unflagged))
    # Whoever takes the first 16 has one from each part of the frame.
    cells = {(int(stars.x[row] // 75), int(stars.y[row] // 75)) for row in chosen[:16]}
    assert len(cells) == 16


def test_leaves_faint_stars_out():
    chosen = choose_stars(
        fits_of(np.array([50.0, 200.0]), np.array([50.0, 200.0]), np.array([1e3, 1e5])),
        PSF,
        np.ones(2, bool),
    )
    assert list(chosen) == [1]


def test_takes_the_lonely_before_the_crowded_and_never_the_lesser_of_a_pair():
    x, y = np.array([50.0, 55.0, 60.0, 100.0, 104.0]), np.full(5, 50.0)
    flux = np.array([1e5, 2e4, 4e4, 9e4, 1e3])
    # 0 has 60 % of its own light beside it, 3 has 1 %.
    chosen = choose_stars(fits_of(x, y, flux), PSF, np.ones(5, bool))
    assert chosen[0] == 3
    assert 1 not in chosen
