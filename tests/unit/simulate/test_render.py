"""Painted light: fluxes, places, widths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from nightflow.simulate.optics import Pointing, StarShape
from nightflow.simulate.plan import CameraPlan, NightPlan
from nightflow.simulate.render import collect_light, moffat_core_radius, paint_stars, sky_plane, star_rates
from nightflow.simulate.scene import PointSources

CAMERA = CameraPlan(shape=(201, 221))
ROUND = StarShape(fwhm=3.0, ellipticity=0.0, angle=0.0, beta=3.2)


def paint_one(x: float, y: float, electrons: float = 1e5, shape: StarShape = ROUND) -> np.ndarray:
    return paint_stars(CAMERA, np.array([x]), np.array([y]), np.array([electrons]), shape)


def moments(image: np.ndarray) -> tuple[float, float]:
    y, x = np.indices(image.shape)
    return float((image * x).sum() / image.sum()), float((image * y).sum() / image.sum())


@settings(max_examples=40, deadline=None)
@given(
    dx=st.floats(-0.5, 0.5),
    dy=st.floats(-0.5, 0.5),
    fwhm=st.floats(2.0, 4.0),
    ellipticity=st.floats(0.0, 0.3),
    angle=st.floats(-90, 90),
)
def test_flux_and_place_are_kept(dx: float, dy: float, fwhm: float, ellipticity: float, angle: float) -> None:
    shape = StarShape(fwhm=fwhm, ellipticity=ellipticity, angle=angle, beta=3.2)
    image = paint_one(110 + dx, 100 + dy, shape=shape)
    assert image.sum() == pytest.approx(1e5, rel=1e-3)
    assert moments(image) == pytest.approx((110 + dx, 100 + dy), abs=0.005)


def test_half_of_the_peak_is_at_half_of_the_width() -> None:
    core = float(moffat_core_radius(3.0, 3.2))
    profile = brentq(lambda r: (1 + (r / core) ** 2) ** -3.2 - 0.5, 0.1, 10.0)
    assert 2 * profile == pytest.approx(3.0)


def test_enclosed_light_follows_moffat() -> None:
    image = paint_one(110.0, 100.0)
    y, x = np.indices(image.shape)
    inside = np.hypot(x - 110, y - 100) <= 12.0
    core = float(moffat_core_radius(3.0, 3.2))
    expected = 1 - (1 + (12.0 / core) ** 2) ** (1 - 3.2)
    assert image[inside].sum() / 1e5 == pytest.approx(expected, abs=1e-3)


def test_ellipse_is_long_along_its_angle() -> None:
    image = paint_one(110.0, 100.0, shape=StarShape(fwhm=3.0, ellipticity=0.3, angle=90.0, beta=3.2))
    assert image[103, 110] > 1.3 * image[100, 113]


def test_stars_beside_the_chip_leave_their_wings_only() -> None:
    assert 0 < paint_one(-4.0, 100.0).sum() < 0.1 * 1e5
    assert paint_one(-2000.0, 100.0).sum() == 0.0
    assert paint_one(float("nan"), 100.0).sum() == 0.0


def test_light_of_many_stars_adds_up() -> None:
    rng = np.random.default_rng(2)
    x, y, electrons = rng.uniform(60, 160, 50), rng.uniform(60, 140, 50), rng.uniform(1e3, 1e5, 50)
    together = paint_stars(CAMERA, x, y, electrons, ROUND)
    apart = sum(paint_one(*star) for star in zip(x, y, electrons, strict=True))
    np.testing.assert_allclose(together, apart, rtol=1e-10)


def test_stars_grow_towards_the_corner() -> None:
    shape = StarShape(fwhm=3.0, ellipticity=0.0, angle=0.0, beta=3.2, field_growth=0.2)
    assert paint_one(20.0, 20.0, shape=shape).max() < 0.85 * paint_one(110.0, 100.0, shape=shape).max()


def test_rates_follow_pogson_colour_and_air() -> None:
    band = NightPlan().passbands["R"]
    sources = PointSources(
        ra=np.zeros(3), dec=np.zeros(3), mag=np.array([10.0, 12.5, 10.0]), v_r=np.array([0.0, 0.0, 1.0])
    )
    rates = star_rates(sources, band, airmass=1.5, cloud=0.2)
    assert rates[0] / rates[1] == pytest.approx(10.0)
    assert -2.5 * np.log10(rates[0]) == pytest.approx(10.0 + 1.5 * band.extinction + 0.2 - band.zero_point)
    colour = -2.5 * np.log10(rates[2] / rates[0])
    assert colour == pytest.approx(-band.color_term + 1.5 * band.extinction_color)


def test_sky_gradient_turns_with_the_flip() -> None:
    planes = [
        sky_plane(
            CAMERA,
            Pointing(
                ra=31.0, dec=46.7, x=110, y=100, scale=3.0, rotation=angle, parity=1, flipped=angle > 90
            ),
            300.0,
            0.1,
        )
        for angle in (3.0, 183.0)
    ]
    assert planes[0][100, 110] == pytest.approx(300.0)
    np.testing.assert_allclose(planes[0], planes[1][::-1, ::-1], rtol=1e-9)
    assert 0.05 * 300 < np.ptp(planes[0]) < 0.2 * 300


def test_collected_light_is_poisson() -> None:
    from nightflow.simulate.detector import make_detector

    chip = make_detector(np.random.default_rng(1), CAMERA, 0.8)
    expected, counted = collect_light(np.random.default_rng(2), chip, np.full(CAMERA.shape, 400.0), 60.0)
    pull = (counted - expected) / np.sqrt(expected)
    assert pull.mean() == pytest.approx(0.0, abs=0.02)
    assert pull.std() == pytest.approx(1.0, abs=0.02)
