"""Weather, extinction, scintillation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightflow.simulate.atmosphere import draw_weather, extinction, scintillation, sky_rate, wander
from nightflow.simulate.plan import AtmospherePlan, NightPlan

MJD = 60973.2 + np.arange(400) / 400 * 0.2
AIRMASS = np.linspace(1.8, 1.0, 400)


def test_wander_has_unit_variance_and_the_memory_asked_for() -> None:
    hours = np.arange(40_000) * 0.1
    walk = wander(np.random.default_rng(1), hours, memory=0.5)
    assert walk.std() == pytest.approx(1.0, abs=0.05)
    assert np.mean(walk[:-5] * walk[5:]) == pytest.approx(np.exp(-1.0), abs=0.05)


def test_seeing_grows_with_airmass() -> None:
    plan = AtmospherePlan(seeing=2.0, seeing_scatter=0.0)
    seeing = draw_weather(np.random.default_rng(1), plan, MJD, AIRMASS).seeing
    np.testing.assert_allclose(seeing, 2.0 * AIRMASS**0.6)


def test_cloud_only_takes_light() -> None:
    weather = draw_weather(np.random.default_rng(2), AtmospherePlan(cloud=0.2), MJD, AIRMASS)
    assert weather.cloud.min() == 0.0
    assert 0.05 < weather.cloud.max() <= 0.25


def test_clear_night_has_no_cloud() -> None:
    weather = draw_weather(np.random.default_rng(2), AtmospherePlan(cloud=0.0), MJD, AIRMASS)
    assert not weather.cloud.any()


def test_extinction_is_linear_in_airmass_and_colour() -> None:
    band = replace(NightPlan().passbands["B"], extinction=0.25, extinction_color=-0.04)
    np.testing.assert_allclose(extinction(band, 2.0, np.array([0.0, 0.5])), [0.50, 0.46])


def test_sky_of_the_demo_is_some_hundred_electrons_a_minute() -> None:
    # 20.5 mag/arcsec^2 in 9 arcsec^2 is 18.11 mag a pixel; zero point 20.05 makes 5.95 electrons/s of it.
    assert sky_rate(NightPlan().passbands["R"], 3.0, 1.0) == pytest.approx(5.95, abs=0.02)


def test_scintillation_by_hand() -> None:
    # 0.09 * 100^(-2/3) / sqrt(2 * 50) = 4.18e-4 for 1 m at sea level, 50 s at the zenith.
    assert scintillation(1.0, 1.0, 0.0, 50.0) == pytest.approx(4.177e-4, rel=1e-3)
    assert scintillation(1.0, 2.0, 0.0, 50.0) > 3 * scintillation(1.0, 1.0, 0.0, 50.0)
