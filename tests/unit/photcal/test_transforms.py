"""Published transforms against stars and relations that others published."""

import numpy as np
import pytest

from nightflow.catalogs.stars import BANDS, ReferenceStars
from nightflow.instruments.profile import PhotometrySettings
from nightflow.photcal.bands import choose_band, reference_of
from nightflow.photcal.transforms import TRANSFORMS, find_transform


def stars(errors=None, **mags):
    mags = {band: np.atleast_1d(np.asarray(values, float)) for band, values in mags.items()}
    count = len(next(iter(mags.values())))
    zeros = np.zeros(count)
    return ReferenceStars(
        catalog="c", ra=zeros, dec=zeros, pmra=zeros, pmdec=zeros, epoch=2016.0, ids=np.full(count, ""),
        mags=mags, mag_errs={} if errors is None else {band: np.full(count, errors) for band in mags},
    )  # fmt: skip


def made(band, source):
    return find_transform(band, source.mags).magnitudes(source)


def test_the_sun():
    """Willmer 2018, ApJS 236, 47, table 3: absolute magnitudes, Vega for G and V to I, AB for g, r, i.

    Its BP - RP is 0.82 (Casagrande & VandenBerg 2018, MNRAS 479, L102).
    """
    sun = stars(G=[4.67], BP=[5.00], RP=[4.18])
    published = {"V": 4.81, "R": 4.43, "I": 4.10, "g": 5.11, "r": 4.65, "i": 4.53, "B": 5.44}
    for band, value in published.items():
        transform = find_transform(band, sun.mags)
        assert made(band, sun)[0] == pytest.approx(value, abs=2 * transform.scatter), band


def test_vega_is_zero_in_every_vega_band():
    """A star of colour 0: within the scatter of the fits it is as bright in all bands of Vega's system."""
    vega = stars(G=[0.03], BP=[0.03], RP=[0.03])
    for band in ("B", "V", "R", "I"):
        assert made(band, vega)[0] == pytest.approx(0.03, abs=0.04), band


def test_johnson_and_sloan_bands_agree():
    """Lupton 2005 (SDSS, from Stetson's standards): V = g - 0.5784 (g - r) - 0.0038, R and I from r and i."""
    color = np.linspace(0.6, 1.5, 30)
    gaia = stars(G=np.full(30, 14.0), BP=14.3 + color / 2, RP=14.3 - color / 2)
    g, r, i = (made(band, gaia) for band in "gri")
    assert np.abs(made("V", gaia) - (g - 0.5784 * (g - r) - 0.0038)).max() < 0.06
    assert np.abs(made("R", gaia) - (r - 0.1837 * (g - r) - 0.0971)).max() < 0.05
    assert np.abs(made("I", gaia) - (r - 1.2444 * (r - i) - 0.3820)).max() < 0.06


def test_tycho_against_bessells_table():
    """Bessell 2000, PASP 112, 961, table 2: V - VT and (B - V) - (BT - VT) by BT - VT."""
    color = np.array([0.0, 0.25, 0.50, 0.75, 1.00, 1.25])
    v_vt = np.array([0.001, -0.029, -0.054, -0.077, -0.098, -0.119])
    reddening = np.array([-0.005, -0.023, -0.035, -0.076, -0.122, -0.178])
    tycho = stars(VT=np.full(6, 10.0), BT=10.0 + color)
    v, b = made("V", tycho), made("B", tycho)
    assert np.abs(v - (10.0 + v_vt)).max() < 0.015
    assert np.abs((b - v) - (color + reddening)).max() < 0.05


def test_outside_of_the_valid_colors_there_is_no_magnitude():
    for transform in TRANSFORMS:
        low, high = transform.valid
        color = np.array([low - 0.01, low + 0.01, high - 0.01, high + 0.01, np.nan])
        bands = {transform.base: np.full(5, 12.0)}
        first, second = transform.color
        bands[second] = bands.get(second, np.full(5, 12.0))
        bands[first] = bands[second] + color
        known = np.isfinite(transform.magnitudes(stars(**bands)))
        assert known.tolist() == [False, True, True, False, False], transform.description


def test_slope_is_the_derivative():
    for transform in TRANSFORMS:
        middle = np.mean(transform.valid)
        first, second = transform.color
        bands = {transform.base: np.full(2, 12.0)}
        bands[second] = bands.get(second, np.full(2, 12.0))
        bands[first] = bands[second] + np.array([middle, middle + 1e-4])
        source = stars(**bands)
        slope = np.diff(transform.magnitudes(source)) / 1e-4
        assert slope[0] == pytest.approx(transform.slope(source)[0], abs=1e-3)


def test_a_lacking_band_is_made_and_says_of_what():
    gaia = stars(G=[14.0, 14.0], BP=[14.4, 14.6], RP=[13.5, 13.6], errors=0.001)
    choice = choose_band("V", gaia, PhotometrySettings())
    assert choice.description == "V from G, BP-RP (Riello 2021)"
    assert (choice.system, choice.color, choice.guess) == ("Vega", ("BP", "RP"), "")
    assert (reference_of(choice, gaia).error > 0.030).all()
    sloan = choose_band("r", gaia, PhotometrySettings())
    assert sloan.system == "AB"


def test_errors_and_covariance_of_a_transformed_band_are_those_of_its_parts():
    """Drawn a thousand times with the stated errors, G, BP and RP give what is said of V and its colour."""
    rng = np.random.default_rng(3)
    drawn = stars(
        **{band: mag + rng.normal(0, 0.02, 20_000) for band, mag in (("G", 14), ("BP", 14.6), ("RP", 13.3))}
    )
    one = stars(G=[14.0], BP=[14.6], RP=[13.3], errors=0.02)
    choice = choose_band("V", one, PhotometrySettings())
    stated, spread = reference_of(choice, one), reference_of(choice, drawn)
    measured = np.cov(spread.mag, spread.color)
    scatter = choice.transform.scatter
    assert stated.error[0] ** 2 - scatter**2 == pytest.approx(measured[0, 0], rel=0.05)
    assert stated.color_variance[0] == pytest.approx(measured[1, 1], rel=0.05)
    assert stated.covariance[0] == pytest.approx(measured[0, 1], rel=0.05)


def test_tychos_base_is_a_band_of_its_color():
    rng = np.random.default_rng(4)
    drawn = stars(VT=10 + rng.normal(0, 0.02, 20_000), BT=10.7 + rng.normal(0, 0.02, 20_000))
    one = stars(VT=[10.0], BT=[10.7], errors=0.02)
    choice = choose_band("B", one, PhotometrySettings())
    stated, spread = reference_of(choice, one), reference_of(choice, drawn)
    measured = np.cov(spread.mag, spread.color)
    assert stated.error[0] ** 2 - choice.transform.scatter**2 == pytest.approx(measured[0, 0], rel=0.05)
    assert stated.covariance[0] == pytest.approx(measured[0, 1], rel=0.05)


def test_the_catalogues_own_band_goes_first():
    both = stars(V=[14.1], G=[14.0], BP=[14.4], RP=[13.5])
    assert choose_band("V", both, PhotometrySettings()).transform is None


def test_a_color_of_two_systems_is_none():
    mixed = stars(V=[14.1], r=[13.9], R=[13.8])
    wanted = PhotometrySettings(colors={"V": ("V", "r")})
    assert choose_band("V", mixed, wanted).color == ("V", "R")
    for transform in TRANSFORMS:
        assert len({BANDS[band] for band in transform.color}) == 1
