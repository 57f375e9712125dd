"""Variables and bodies that move."""

from __future__ import annotations

import numpy as np
import pytest

from nightflow.simulate.scene import Asteroid, Scene, Sinusoid
from nightflow.simulate.sky import Stars
from nightflow.simulate.transit import Transit

MJD = 60973.25


def two_stars() -> Stars:
    zeros = np.zeros(2)
    return Stars(
        ra=np.array([31.0, 31.1]),
        dec=np.array([46.6, 46.7]),
        pmra=zeros,
        pmdec=zeros,
        epoch=2025.8,
        v=np.array([11.0, 12.0]),
        v_r=np.array([0.3, 0.5]),
        is_target=np.array([True, False]),
    )


def test_sinusoid_swings_by_its_amplitude() -> None:
    curve = Sinusoid(amplitude=0.15, period_hours=3.0, epoch_bjd=2460000.0)
    mag = -2.5 * np.log10(curve.relative_flux(2460000.0 + np.array([0.0, 1.5, 3.0]) / 24))
    np.testing.assert_allclose(mag, [-0.15, 0.15, -0.15], atol=1e-6)


def test_only_the_variable_star_varies() -> None:
    transit = Transit(mid_bjd=2460973.8, depth=0.02, duration_hours=2.0)
    scene = Scene(stars=two_stars(), light_curves={0: transit})
    np.testing.assert_allclose(scene.relative_flux(2460973.8), [0.98, 1.0], atol=1e-9)
    sources = scene.sources("V", MJD, 2460973.8, 60.0)
    np.testing.assert_allclose(sources.mag, [11.0 - 2.5 * np.log10(0.98), 12.0])


def test_asteroid_moves_at_its_rate_and_angle() -> None:
    asteroid = Asteroid(name="x", ra=31.0, dec=60.0, mjd=MJD, rate=30.0, position_angle=90.0, v=14.0)
    ra, dec = asteroid.position(np.array([MJD, MJD + 2 / 24]))
    assert 3600 * (ra[1] - ra[0]) * np.cos(np.radians(60.0)) == pytest.approx(60.0)
    assert dec[1] == pytest.approx(60.0)


def test_trail_keeps_the_light_and_is_centred_on_mid_exposure() -> None:
    asteroid = Asteroid(name="x", ra=31.0, dec=46.6, mjd=MJD, rate=600.0, position_angle=0.0, v=14.0, v_r=0.4)
    sources = Scene(stars=two_stars(), movers=(asteroid,)).sources("R", MJD, 2460973.8, 120.0)
    trail = slice(2, None)
    assert len(sources.ra) > 20
    assert np.sum(10 ** (-0.4 * (sources.mag[trail] - 13.6))) == pytest.approx(1.0)
    assert sources.dec[trail].mean() == pytest.approx(46.6)
    assert np.ptp(sources.dec[trail]) * 3600 == pytest.approx(20.0, abs=0.6)


def test_slow_body_is_a_point() -> None:
    asteroid = Asteroid(name="x", ra=31.0, dec=46.6, mjd=MJD, rate=10.0, position_angle=0.0, v=14.0)
    assert len(Scene(stars=two_stars(), movers=(asteroid,)).sources("V", MJD, 2460973.8, 60.0).ra) == 3
