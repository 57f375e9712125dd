"""Windowed centroids: sep as the oracle, and the places that were painted."""

from __future__ import annotations

import numpy as np
import pytest
import sep

from nightflow.sources.centroids import windowed_centroids
from tests.unit.sources.fields import Field, gaussian_field

SIGMA = 3.0 / 2.3548


@pytest.fixture(scope="module")
def stars() -> Field:
    return gaussian_field(np.geomspace(3e3, 3e5, 80), seed=4, fwhm=3.0, sky=100.0)


def _clean(field: Field) -> np.ndarray:
    return (field.frame.data - field.sky).astype(np.float32)


def test_centroids_are_those_of_sep(stars: Field) -> None:
    clean, sigma = _clean(stars), np.full(len(stars.x), SIGMA)
    start_x, start_y = np.rint(stars.x), np.rint(stars.y)
    x, y = windowed_centroids(clean, start_x, start_y, sigma)
    x_sep, y_sep, _ = sep.winpos(clean, start_x, start_y, sigma)
    distance = np.hypot(x - x_sep, y - y_sep)
    assert np.median(distance) < 3e-4
    assert distance.max() < 0.01


def test_centroids_are_the_places_of_the_stars(stars: Field) -> None:
    sigma = np.full(len(stars.x), SIGMA)
    x, y = windowed_centroids(_clean(stars), np.rint(stars.x), np.rint(stars.y), sigma)
    bright = stars.flux > 3e4
    assert np.median(np.hypot(x - stars.x, y - stars.y)[bright]) < 0.02


def test_without_light_or_beside_the_frame_the_first_place_stays() -> None:
    dark = np.full((40, 40), -1.0, np.float32)
    x, y = windowed_centroids(dark, np.array([20.3, 500.0]), np.array([10.2, -70.0]), np.full(2, 1.3))
    assert x.tolist() == [20.3, 500.0]
    assert y.tolist() == [10.2, -70.0]


def test_a_centroid_that_runs_out_of_its_window_comes_back() -> None:
    slope = np.outer(np.ones(60), np.exp(np.arange(60) / 2.0)).astype(np.float32)
    x, _ = windowed_centroids(slope, np.array([20.0]), np.array([30.0]), np.array([1.3]))
    assert x[0] == 20.0
