import numpy as np
import pytest

from nightflow.lightcurves.microjansky import microjansky
from nightflow.photcal.jansky import flux_scale


def test_a_star_of_known_magnitude_has_its_flux_density():
    """18.9 mag AB is 100 microjansky: 23.9 - 2.5 log10(100)."""
    scale = flux_scale(22.0, 0.01, 60.0, system="AB", band="r")
    electrons = 60.0 * 10 ** (0.4 * (22.0 - 18.9))
    assert electrons * scale.factor == pytest.approx(100.0)
    assert scale.zero_point - 2.5 * np.log10(electrons * scale.factor) == pytest.approx(18.9)


def test_vega_is_brought_to_ab_and_says_so():
    """Blanton & Roweis 2007: V of 0 mag is 0.02 mag in AB, 3564 Jy."""
    scale = flux_scale(0.0, 0.01, 1.0, system="Vega", band="V from G, BP-RP (Riello 2021)")
    assert scale.vega_to_ab == 0.02
    assert scale.factor == pytest.approx(3564e6, rel=0.001)


def test_the_error_is_the_zero_points():
    scale = flux_scale(22.0, 0.02, 60.0, system="AB", band="r")
    assert scale.relative_error == pytest.approx(10 ** (0.4 * 0.02) - 1, rel=0.02)


def test_it_agrees_with_the_fluxes_of_light_curves():
    flux = np.array([100.0])
    by_curve = microjansky(flux, np.array([22.0]), "Vega", "R")
    scale = flux_scale(22.0, 0.01, 30.0, system="Vega", band="R")
    assert flux * 30.0 * scale.factor == pytest.approx(by_curve)


@pytest.mark.parametrize(
    ("system", "band", "exptime"), [("Vega", "VT", 60.0), ("AB", "r", 0.0), ("?", "r", 1.0)]
)
def test_without_a_place_in_ab_there_is_no_scale(system, band, exptime):
    assert flux_scale(22.0, 0.01, exptime, system=system, band=band) is None
