from __future__ import annotations

import numpy as np
import pytest

from nightflow.lightcurves.microjansky import microjansky


def test_ab_zero_is_3631_jansky() -> None:
    assert microjansky(np.array([1.0]), np.array([0.0]), "AB", "r")[0] == pytest.approx(3631e6, rel=1e-3)


@pytest.mark.parametrize(
    ("band", "jansky"),
    # Bessell, Castelli & Plez 1998, table A2: flux of a star of magnitude 0.
    [("U", 1790.0), ("B", 4063.0), ("V", 3636.0), ("R", 3064.0), ("I", 2416.0)],
)
def test_vega_zero_of_the_johnson_cousins_bands(band: str, jansky: float) -> None:
    assert microjansky(np.array([1.0]), np.array([0.0]), "Vega", band)[0] == pytest.approx(
        jansky * 1e6, rel=0.03
    )


def test_negative_flux_stays_negative() -> None:
    assert microjansky(np.array([-2.0]), np.array([23.9]), "AB", "g")[0] == pytest.approx(-2.0)


@pytest.mark.parametrize(("system", "band"), [("Vega", "Clear"), ("", "V"), ("ST", "V")])
def test_an_unknown_band_or_system_has_no_flux_density(system: str, band: str) -> None:
    assert np.isnan(microjansky(np.array([1.0]), np.array([25.0]), system, band)).all()


def test_no_zero_point_no_flux_density() -> None:
    assert np.isnan(microjansky(np.array([1.0]), np.array([np.nan]), "AB", "g")).all()
