from dataclasses import replace

import numpy as np
import pytest

from nightflow.catalogs.stars import ReferenceStars
from nightflow.flags import Flag
from nightflow.instruments.profile import PhotometrySettings
from nightflow.photcal.match import CatalogMatch
from nightflow.photcal.zero_point import Conditions, NoZeroPoint, calibrate_flux
from nightflow.sources.table import SourceTable

ZERO_POINT, EXPTIME, GAIN = 21.3, 60.0, 2.0
SETTINGS = PhotometrySettings(minimum_stars=3)


def scene(count=80, *, seed=0, color_term=0.0, star_scatter=0.0, catalog_noise=0.01, signal_to_noise=300.0):
    """Sources and catalogue of the same stars, of a known zero point."""
    rng = np.random.default_rng(seed)
    v = rng.uniform(10, 14, count)
    color = rng.uniform(-0.2, 1.6, count)
    true = v - ZERO_POINT - color_term * color + rng.normal(0, star_scatter, count)
    flux = EXPTIME * 10 ** (-0.4 * true)
    flux_err = flux / signal_to_noise
    zeros = np.zeros(count)
    sources = SourceTable(
        x=np.arange(count, dtype=float), y=zeros, x_err=zeros, y_err=zeros,
        flux=flux + rng.normal(0, flux_err), flux_err=flux_err, peak=flux, background=zeros,
        fwhm=zeros + 3, ellipticity=zeros, theta=zeros, flags=np.zeros(count, np.uint16),
    )  # fmt: skip
    stars = ReferenceStars(
        catalog="standards", ra=zeros, dec=zeros, pmra=zeros, pmdec=zeros, epoch=2000.0,
        ids=np.array([f"star {i}" for i in range(count)]),
        mags={"V": v + rng.normal(0, catalog_noise, count), "B": v + color},
        mag_errs={"V": np.full(count, catalog_noise)},
    )  # fmt: skip
    rows = np.arange(count)
    return sources, stars, CatalogMatch(rows, rows.copy(), zeros)


def calibrate(sources, stars, match, filter="V", excluded=None):
    conditions = Conditions(
        filter=filter, exptime=EXPTIME, gain=GAIN, aperture_noise=71.0, aperture_correction=1.0
    )
    return calibrate_flux(sources, stars, match, conditions, SETTINGS, excluded)


def test_zero_point_of_an_electron_and_of_an_adu():
    solution = calibrate(*scene()).solution
    assert solution.zero_point == pytest.approx(ZERO_POINT, abs=4 * solution.error)
    assert solution.zero_point_adu == pytest.approx(solution.zero_point - 2.5 * np.log10(GAIN))
    assert (solution.catalog, solution.band, solution.system) == ("standards", "V", "Vega")


def test_error_is_true_with_and_without_extra_scatter():
    for scatter in (0.0, 0.05):
        solutions = [calibrate(*scene(30, seed=seed, star_scatter=scatter)).solution for seed in range(200)]
        pulls = np.array([(s.zero_point - ZERO_POINT) / s.error for s in solutions])
        assert abs(np.median(pulls)) < 0.25
        assert 0.8 < np.std(pulls) < 1.25


def test_error_of_three_stars_is_not_too_small():
    solutions = [calibrate(*scene(3, seed=seed, star_scatter=0.05)).solution for seed in range(300)]
    pulls = np.array([(s.zero_point - ZERO_POINT) / s.error for s in solutions])
    assert np.percentile(np.abs(pulls), 68) < 1.2


def test_color_term_is_found():
    solution = calibrate(*scene(color_term=-0.08)).solution
    assert solution.color == ("B", "V")
    assert solution.color_term == pytest.approx(-0.08, abs=0.008)
    assert solution.zero_point == pytest.approx(ZERO_POINT, abs=0.01)


def test_few_stars_get_no_color_term():
    assert calibrate(*scene(6, color_term=-0.08)).solution.color_term is None


def test_outliers_are_clipped():
    sources, stars, match = scene()
    flux = sources.flux.copy()
    flux[:12] *= 2
    solution = calibrate(replace(sources, flux=flux), stars, match).solution
    assert solution.zero_point == pytest.approx(ZERO_POINT, abs=0.01)
    assert solution.n_stars <= 68


def test_saturated_and_excluded_stars_are_no_reference():
    sources, stars, match = scene()
    flux, flags = sources.flux.copy(), sources.flags.copy()
    flux[:45] *= 0.5
    flags[:20] |= np.uint16(Flag.SATURATED)
    excluded = np.zeros(len(sources), bool)
    excluded[20:45] = True
    solution = calibrate(replace(sources, flux=flux, flags=flags), stars, match, excluded=excluded).solution
    assert solution.zero_point == pytest.approx(ZERO_POINT, abs=0.01)
    assert solution.n_stars <= 35


def test_no_star_is_its_own_reference():
    """The magnitude of each star of the fit is that of a fit without it."""
    sources, stars, match = scene(5, catalog_noise=0.05)
    whole = calibrate(sources, stars, match)
    for star in range(5):
        others = np.arange(5) != star
        rest = CatalogMatch(match.source[others], match.star[others], match.distance[others])
        without = calibrate(sources, stars, rest)
        # Exact for equal weights; the intrinsic scatter is found anew without the star, hence the margin.
        assert whole.mag[star] == pytest.approx(without.mag[star], abs=0.01)


def test_a_star_without_which_there_is_no_fit_has_no_magnitude():
    """Eleven stars of one colour and one of another: the colour term is that one star's own."""
    sources, stars, match = scene(12)
    color = np.array([0.4] * 11 + [2.0])
    result = calibrate(sources, replace(stars, mags={**stars.mags, "B": stars.mags["V"] + color}), match)
    assert result.solution.color_term is not None
    assert np.isnan(result.mag[11])
    assert np.isfinite(result.mag[:11]).all()


@pytest.mark.parametrize(
    "absurd", [{"exptime": 0.0}, {"exptime": np.nan}, {"gain": 0.0}, {"aperture_noise": np.inf}], ids=str
)
def test_absurd_conditions_are_no_zero_point(absurd):
    (name,) = absurd
    known = {"filter": "V", "exptime": EXPTIME, "gain": GAIN, "aperture_noise": 71.0}
    with pytest.raises(NoZeroPoint, match=f"{name} = .* is not a positive number"):
        calibrate_flux(*scene(), Conditions(**(known | absurd)), SETTINGS)


def test_an_infinite_flux_is_no_reference_and_has_no_magnitude():
    sources, stars, match = scene()
    flux = sources.flux.copy()
    flux[3] = np.inf
    result = calibrate(replace(sources, flux=flux), stars, match)
    assert result.solution.zero_point == pytest.approx(ZERO_POINT, abs=0.01)
    assert np.isnan(result.mag[3])


def test_a_catalogue_error_that_is_not_finite_is_assumed():
    sources, stars, match = scene()
    errors = np.full(80, np.inf)
    solution = calibrate(sources, replace(stars, mag_errs={"V": errors}), match).solution
    assert solution.zero_point == pytest.approx(ZERO_POINT, abs=0.01)
    assert 0 < solution.error < 0.02


def test_magnitudes_and_errors():
    sources, stars, match = scene()
    flux = sources.flux.copy()
    flux[7] = -5.0
    result = calibrate(replace(sources, flux=flux), stars, match)
    assert np.isnan(result.mag[7])
    good = np.arange(80) != 7
    assert np.std(result.mag[good] - stars.mags["V"][good]) < 0.02
    np.testing.assert_allclose(result.mag_err[good], 2.5 / np.log(10) * (sources.flux_err / flux)[good])


def test_too_few_stars_says_how_many():
    sources, stars, match = scene(2)
    with pytest.raises(NoZeroPoint, match="2 of 2 matched stars"):
        calibrate(sources, stars, match)


def test_unknown_filter_names_the_mend():
    with pytest.raises(NoZeroPoint, match=r"photometry\.bands"):
        calibrate(*scene(), filter="Halpha")


def test_unfiltered_frame_is_calibrated_with_a_warning():
    solution = calibrate(*scene(), filter="Clear").solution
    assert solution.band == "V"
    assert "not the same passband" in solution.warnings[0]


def test_depth_is_where_signal_to_noise_is_five():
    solution = calibrate(*scene()).solution
    flux = EXPTIME * 10 ** (0.4 * (solution.zero_point - solution.depth_5sigma))
    assert flux / np.sqrt(flux + 71.0**2) == pytest.approx(5.0)
