"""The transit against the closed form of a uniform disc (Mandel & Agol 2002, eq. 1)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.simulate.transit import Transit, occulted_flux, radius_ratio_for_depth

TRANSIT = Transit(mid_bjd=2460973.8, depth=0.023, duration_hours=1.8)


def uniform_disc(z: float, k: float) -> float:
    if z >= 1 + k:
        return 1.0
    if z <= 1 - k:
        return 1 - k**2
    kappa0 = np.arccos((k**2 + z**2 - 1) / (2 * k * z))
    kappa1 = np.arccos((1 - k**2 + z**2) / (2 * z))
    lens = k**2 * kappa0 + kappa1 - np.sqrt((4 * z**2 - (1 + z**2 - k**2) ** 2) / 4)
    return float(1 - lens / np.pi)


@settings(deadline=None)
@given(z=st.floats(0.0, 1.5), k=st.floats(0.02, 0.4))
def test_uniform_disc_has_its_closed_form(z: float, k: float) -> None:
    assert occulted_flux(np.array([z]), k, 0.0, 0.0)[0] == pytest.approx(uniform_disc(z, k), abs=2e-6)


@settings(deadline=None)
@given(z=st.floats(0.0, 1.2), k=st.floats(0.02, 0.3), u1=st.floats(0.0, 0.6), u2=st.floats(0.0, 0.3))
def test_flux_stays_between_nothing_and_all(z: float, k: float, u1: float, u2: float) -> None:
    flux = occulted_flux(np.array([z]), k, u1, u2)[0]
    assert 0.0 <= flux <= 1.0 + 1e-9


def test_small_planet_in_the_centre_takes_the_central_intensity() -> None:
    k, u1, u2 = 0.01, 0.4, 0.2
    lost = 1 - occulted_flux(np.array([0.0]), k, u1, u2)[0]
    assert lost == pytest.approx(k**2 / (1 - u1 / 3 - u2 / 6), rel=1e-3)


def test_radius_ratio_gives_the_depth_back() -> None:
    k = radius_ratio_for_depth(0.023, 0.12, 0.35, 0.25)
    assert 1 - occulted_flux(np.array([0.12]), k, 0.35, 0.25)[0] == pytest.approx(0.023, abs=1e-9)


def test_contacts_bound_the_duration() -> None:
    hours = np.array([-0.91, -0.89, 0.0, 0.89, 0.91])
    flux = TRANSIT.relative_flux(TRANSIT.mid_bjd + hours / 24)
    np.testing.assert_allclose(flux[[0, 4]], 1.0, atol=1e-12)
    assert flux[1] < 1.0
    assert flux[3] < 1.0
    assert flux[2] == pytest.approx(1 - 0.023, abs=1e-9)


def test_transit_is_symmetric_and_deepest_in_the_middle() -> None:
    hours = np.linspace(0.0, 1.0, 41)
    after = TRANSIT.relative_flux(TRANSIT.mid_bjd + hours / 24)
    before = TRANSIT.relative_flux(TRANSIT.mid_bjd - hours / 24)
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert np.all(np.diff(after) >= -1e-9)
