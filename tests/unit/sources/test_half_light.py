"""Half-light radii: sep as the oracle, and a Gaussian's."""

from __future__ import annotations

import numpy as np
import pytest
import sep

from nightflow.sources.half_light import half_light_radii
from tests.unit.sources.fields import gaussian_field


def test_half_light_radii_are_those_of_sep() -> None:
    stars = gaussian_field(np.geomspace(3e3, 3e5, 80), seed=4, fwhm=3.0, sky=100.0)
    clean, reach = (stars.frame.data - stars.sky).astype(np.float32), np.full(len(stars.x), 6.0)
    radius = half_light_radii(clean, stars.x, stars.y, reach)
    expected, failed = sep.flux_radius(clean, stars.x, stars.y, reach, 0.5, subpix=5)
    assert (failed == 0).all()
    difference = np.abs(radius - expected)
    bright = stars.flux > 3e4
    assert difference[bright].max() < 0.02
    assert np.median(difference) < 0.01


def test_half_of_a_gaussian_lies_within_half_its_width() -> None:
    yy, xx = np.mgrid[:41, :41]
    star = np.exp(-((xx - 20.2) ** 2 + (yy - 19.7) ** 2) / (2 * 2.0**2)).astype(np.float32)
    radius = half_light_radii(star, np.array([20.2]), np.array([19.7]), np.array([12.0]))
    assert radius[0] == pytest.approx(2.0 * 2.3548 / 2, rel=0.01)


def test_no_radius_at_the_edge_nor_without_light() -> None:
    frame = np.ones((30, 30), np.float32)
    frame[10:, :] = -1.0
    radius = half_light_radii(frame, np.array([3.0, 15.0]), np.array([4.0, 22.0]), np.array([5.0, 5.0]))
    assert np.isnan(radius).all()
