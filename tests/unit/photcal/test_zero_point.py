from dataclasses import replace

import numpy as np
import pytest

from nightflow.catalogs.stars import ReferenceStars
from nightflow.flags import Flag
from nightflow.instruments.profile import PhotometrySettings
from nightflow.photcal.borrow import borrow_zero_point
from nightflow.photcal.conditions import Conditions
from nightflow.photcal.lent import KnownZeroPoint, lend_zero_point
from nightflow.photcal.match import CatalogMatch
from nightflow.photcal.no_zero_point import NoZeroPoint, TooFewStars
from nightflow.photcal.zero_point import calibrate_flux
from nightflow.sources.table import SourceTable

ZERO_POINT, EXPTIME, GAIN = 21.3, 60.0, 2.0
SETTINGS = PhotometrySettings(minimum_stars=3)


def scene(
    count=80,
    *,
    seed=0,
    color_term=0.0,
    star_scatter=0.0,
    catalog_noise=0.01,
    color_noise=None,
    signal_to_noise=300.0,
    narrow=False,
):
    """Sources and catalogue of the same stars, of a known zero point; B is exact where no noise is given."""
    rng = np.random.default_rng(seed)
    v = rng.uniform(10, 14, count)
    color = rng.normal(0.6, 0.1, count) if narrow else rng.uniform(-0.2, 1.6, count)
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
        mags={
            "V": v + rng.normal(0, catalog_noise, count),
            "B": v + color + rng.normal(0, color_noise or 0.0, count),
        },
        mag_errs={"V": np.full(count, catalog_noise), "B": np.full(count, color_noise or 0.0)},
    )  # fmt: skip
    rows = np.arange(count)
    return sources, stars, CatalogMatch(rows, rows.copy(), zeros)


def calibrate(sources, stars, match, filter="V", excluded=None, settings=SETTINGS, shape=None):
    conditions = Conditions(
        filter=filter, exptime=EXPTIME, gain=GAIN, aperture_noise=71.0, aperture_correction=1.0,
        shape=shape,
    )  # fmt: skip
    return calibrate_flux(sources, stars, match, conditions, settings, excluded)


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


def test_few_stars_leave_the_color_term_open_and_the_error_says_so():
    """The zero point is that of colour 0, which none of these stars has."""
    sources, stars, match = scene(4, color_term=-0.08)
    narrow = replace(stars, mags={**stars.mags, "B": stars.mags["V"] + 0.6 + 0.01 * np.arange(4)})
    solution = calibrate(sources, narrow, match).solution
    assert solution.color_term_error == pytest.approx(0.1, rel=0.05)
    assert solution.error == pytest.approx(0.6 * 0.1, rel=0.25)


def test_a_color_term_that_is_not_taken_is_in_the_error():
    """Stars of colour 0.6 against a term of which nothing is known but that such terms are 0 +- 0.1."""
    sources, stars, match = scene(80)
    stars = replace(stars, mags={**stars.mags, "B": stars.mags["V"] + 0.6})
    without = SETTINGS.model_copy(update={"color_term": False})
    assert calibrate(sources, stars, match, settings=without).solution.error == pytest.approx(0.06, rel=0.1)
    unknown = replace(stars, mags={"V": stars.mags["V"]})
    assert calibrate(sources, unknown, match).solution.error == pytest.approx(0.07, rel=0.1)


def with_colors_of(stars, known):
    return replace(stars, mags={**stars.mags, "B": np.where(known, stars.mags["B"], np.nan)})


def test_a_few_colors_make_no_color_term():
    """As in a catalogue that knows the colours of its bright, blue stars alone."""
    sources, stars, match = scene(60, color_term=-0.3)
    color = stars.mags["B"] - stars.mags["V"]
    few = with_colors_of(stars, color <= np.sort(color)[16])
    result = calibrate(sources, few, match)
    solution = result.solution
    assert (solution.color_term, solution.color_term_error, solution.color) == (None, None, None)
    assert solution.warnings[-1].startswith("no colour term: 17 of 60 usable stars have a colour B-V")
    assert abs(solution.zero_point - ZERO_POINT) < 4 * solution.error
    # That of the stars' own mean colour, however they got it.
    assert solution.zero_point == pytest.approx(ZERO_POINT - 0.3 * color.mean(), abs=0.08)
    uncolored = calibrate(sources, replace(stars, mags={"V": stars.mags["V"]}), match)
    np.testing.assert_array_equal(result.mag, uncolored.mag)


def test_most_colors_are_enough_for_a_color_term():
    sources, stars, match = scene(60, color_term=-0.08)
    most = with_colors_of(stars, np.arange(60) % 3 > 0)
    solution = calibrate(sources, most, match).solution
    assert solution.color_term == pytest.approx(-0.08, abs=4 * solution.color_term_error)
    assert solution.color_term_error < 0.02
    assert not solution.warnings
    one_less = calibrate(sources, with_colors_of(stars, (np.arange(60) % 3 > 0) & (np.arange(60) > 1)), match)
    assert one_less.solution.color_term is None


@pytest.mark.parametrize(("count", "narrowest"), [(4, 0.5), (12, 0.65), (60, 0.8)])
def test_errors_hold_whatever_the_color_term_is(count, narrowest):
    """Cameras whose terms are as terms usually are; for four stars Student's factor makes the error wide."""
    pulls = np.array([_pull(count, seed) for seed in range(120)])
    assert abs(np.median(pulls)) < 0.3
    assert narrowest < 1.4826 * np.median(np.abs(pulls - np.median(pulls))) < 1.25


def _pull(count, seed):
    term = np.random.default_rng(1000 + seed).normal(0, 0.1)
    solution = calibrate(*scene(count, seed=seed, color_term=term, color_noise=0.01)).solution
    return (solution.zero_point - ZERO_POINT) / solution.error


def test_catalogue_noise_does_not_tilt_the_color_term():
    """V is in the colour and in the reference: its error makes a star too bright and too red at a time."""
    terms, zero_points = [], []
    for seed in range(40):
        data = scene(300, seed=seed, color_term=-0.08, color_noise=0.02, catalog_noise=0.02, narrow=True)
        solution = calibrate(*data).solution
        terms.append(solution.color_term)
        zero_points.append(solution.zero_point)
    # A plain fit gives -0.11, and 18 mmag too much.
    assert np.mean(terms) == pytest.approx(-0.08, abs=0.01)
    assert np.mean(zero_points) == pytest.approx(ZERO_POINT, abs=0.005)


def test_a_catalogue_without_errors_leaves_the_tilt_open():
    sources, stars, match = scene(200, narrow=True)
    stated = {"V": np.full(200, 0.01), "B": np.full(200, 0.01)}
    sure = calibrate(sources, replace(stars, mag_errs=stated), match).solution
    unsure = calibrate(sources, replace(stars, mag_errs={}), match).solution
    assert unsure.color_term_error > 1.5 * sure.color_term_error
    assert unsure.error > 1.5 * sure.error


def test_the_aperture_corrections_error_is_in_that_of_the_zero_point():
    sources, stars, match = scene(400)
    conditions = Conditions(
        filter="V", exptime=EXPTIME, gain=GAIN, aperture_noise=71.0,
        aperture_correction=1.1, aperture_correction_error=0.022,
    )  # fmt: skip
    solution = calibrate_flux(sources, stars, match, conditions, SETTINGS).solution
    assert solution.error == pytest.approx(0.0217, rel=0.05)


def test_a_nonlinear_detector_is_warned_of():
    sources, stars, match = scene(80)
    bent = replace(sources, flux=sources.flux**1.06)
    assert any("not by 1" in said for said in calibrate(bent, stars, match).solution.warnings)
    assert not calibrate(sources, stars, match).solution.warnings


def test_a_slope_over_the_frame_is_found_said_and_taken_out():
    sources, stars, match = scene(150)
    rng = np.random.default_rng(5)
    x, y = rng.uniform(0, 999, (2, 150))
    faded = sources.flux * 10 ** (-0.4 * 0.03 * (2 * x / 999 - 1))
    tilted = calibrate(replace(sources, x=x, y=y, flux=faded), stars, match, shape=(1000, 1000))
    assert tilted.solution.position_term == pytest.approx((-0.03, 0.0), abs=0.006)
    assert "changes over the frame" in tilted.solution.warnings[0]
    assert np.std(tilted.mag - stars.mags["V"]) < 0.013
    assert tilted.solution.zero_point == pytest.approx(ZERO_POINT, abs=4 * tilted.solution.error)
    level = calibrate(replace(sources, x=x, y=y), stars, match, shape=(1000, 1000))
    assert level.solution.position_term is None


def test_a_frame_that_borrows_says_so():
    sources, stars, match = scene(2)
    with pytest.raises(TooFewStars) as too_few:
        calibrate(sources, stars, match)
    known = [KnownZeroPoint(21.2 + 0.01 * n, 0.004, 1.2, n, -0.1, 0.01) for n in range(5)]
    lent = lend_zero_point(known, 1.2)
    conditions = Conditions(filter="V", exptime=EXPTIME, gain=GAIN, aperture_noise=71.0)
    result = borrow_zero_point(sources, stars, match, conditions, too_few.value.choice, lent, "2 stars")
    assert result.solution.origin == "night"
    assert result.solution.error >= 0.01
    assert "of the night" in result.solution.warnings[0]
    color = stars.mags["B"] - stars.mags["V"]
    instrumental = -2.5 * np.log10(sources.flux / EXPTIME)
    np.testing.assert_allclose(result.mag, instrumental + 21.22 - 0.1 * color)


def test_a_lent_zero_point_is_as_sure_as_it_says():
    """Six frames of 15 stars lend to one of two: what they have in common is in the error, and the term's."""
    pulls = np.concatenate([_lent_pulls(seed) for seed in range(80)])
    assert abs(np.median(pulls)) < 0.25
    assert 0.6 < np.sqrt(np.mean(pulls**2)) < 1.2


def _lent_pulls(seed):
    """Return by how many errors of the zero point stars of colours 0, 0.7 and 1.4 are off."""
    rng = np.random.default_rng(5000 + seed)
    term = rng.normal(0, 0.1)
    sources, stars, match = scene(15, seed=seed, color_term=term, color_noise=0.01, catalog_noise=0.02)
    known = []
    for hour in range(6):
        flux = sources.flux * (1 + rng.normal(0, 1 / 300, 15))
        solution = calibrate(replace(sources, flux=flux), stars, match).solution
        known.append(
            KnownZeroPoint(
                solution.zero_point, solution.error, 1.2, hour, solution.color_term, solution.color_term_error
            )
        )
    v, color = np.full(3, 12.0), np.array([0.0, 0.7, 1.4])
    three = slice(0, 3)
    few = SourceTable(
        **{name: getattr(sources, name)[three] for name in sources.__dataclass_fields__ if name != "flux"},
        flux=EXPTIME * 10 ** (-0.4 * (v - ZERO_POINT - term * color)),
    )
    truth = replace(stars.take(np.arange(3)), mags={"V": v, "B": v + color}, mag_errs={})
    rows = np.arange(3)
    with pytest.raises(TooFewStars) as too_few:
        calibrate(few, truth, CatalogMatch(rows[:2], rows[:2], np.zeros(2)))
    conditions = Conditions(filter="V", exptime=EXPTIME, gain=GAIN, aperture_noise=71.0)
    result = borrow_zero_point(
        few, truth, CatalogMatch(rows, rows, np.zeros(3)), conditions, too_few.value.choice,
        lend_zero_point(known, 1.2), "2 stars",
    )  # fmt: skip
    return (result.mag - v) / result.solution.error


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
        # Exact for the same weights and colours; scatter and mean colour are found anew, hence the margin.
        assert whole.mag[star] == pytest.approx(without.mag[star], abs=0.02)


def test_a_star_without_which_there_is_no_fit_has_no_magnitude():
    """One star may be asked to do: it is its own reference, and would only be told what it was told."""
    alone = SETTINGS.model_copy(update={"minimum_stars": 1})
    result = calibrate(*scene(1), settings=alone)
    assert np.isnan(result.mag[0])


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


@pytest.mark.parametrize(("off", "word"), [(0.2, "brighter"), (-0.2, "fainter")])
def test_of_few_stars_the_one_that_is_off_is_named(off: float, word: str) -> None:
    sources, stars, match = scene(6, catalog_noise=0.005)
    stars.mags["V"][2] += off
    found = calibrate(sources, stars, match).solution
    (said,) = (one for one in found.warnings if "fitted without" in one)
    assert f"star 2 (V = {stars.mags['V'][2]:.3f})" in said
    assert f"mag {word} on this frame" in said
    assert 0.15 < float(said.partition("which is ")[2].split()[0]) < 0.25
    assert found.zero_point == pytest.approx(ZERO_POINT, abs=3 * found.error)


def test_of_many_stars_none_is_named() -> None:
    sources, stars, match = scene(30)
    stars.mags["V"][2] += 0.5
    assert not any("fitted without" in one for one in calibrate(sources, stars, match).solution.warnings)
