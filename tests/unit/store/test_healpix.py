from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.sphere import unit_vectors
from nightflow.store import healpix

DEC = st.floats(-90, 90)
RA = st.floats(0, 360, exclude_max=True)


def _inside(pixel: int, ranges: list[tuple[int, int]]) -> bool:
    return any(first <= pixel <= last for first, last in ranges)


def test_pixel_of_known_places() -> None:
    # Base pixel 0 goes from the equator at RA 45 (its first pixel) to the pole (its last).
    assert healpix.pixel(np.array([45.0]), np.array([89.9999]))[0] == 4**14 - 1
    assert healpix.pixel(np.array([45.0]), np.array([0.0001]))[0] == 0


@settings(max_examples=60, deadline=None)
@given(ra=RA, dec=DEC, radius=st.floats(1e-4, 30), angle=st.floats(0, 2 * np.pi), part=st.floats(0, 1))
def test_a_cone_covers_every_place_in_it(
    ra: float, dec: float, radius: float, angle: float, part: float
) -> None:
    centre = unit_vectors(np.array(ra), np.array(dec))
    axis = np.cross(centre, [0.0, 0.0, 1.0] if abs(centre[2]) < 0.9 else [1.0, 0.0, 0.0])
    axis /= np.linalg.norm(axis)
    other = np.cross(centre, axis)
    turn = np.radians(radius * part)
    x, y, z = np.cos(turn) * centre + np.sin(turn) * (np.cos(angle) * axis + np.sin(angle) * other)
    place_ra, place_dec = np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arcsin(np.clip(z, -1, 1)))
    pixel = int(healpix.pixel(np.array([place_ra]), np.array([place_dec]))[0])
    assert _inside(pixel, healpix.cone(ra, dec, radius))


@pytest.mark.parametrize("radius", [3 / 3600, 0.1, 1.0, 10.0])
def test_a_cone_is_few_ranges_of_about_its_own_area(radius: float) -> None:
    ranges = healpix.cone(123.0, 45.0, radius)
    pixels = sum(last - first + 1 for first, last in ranges)
    area = pixels * 41252.96 / (12 * 4**14)
    reach = 1.5 * radius + 3 * 58.6 / 2**14
    assert len(ranges) < 60
    assert area < 2.5 * np.pi * reach**2
    assert all(a[1] + 1 < b[0] for a, b in pairwise(ranges))


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.99, 89.9), (180.0, -89.99), (83.0, -5.0)])
def test_a_frame_is_covered_with_its_margin(ra: float, dec: float) -> None:
    rng = np.random.default_rng(5)
    places_ra = (ra + rng.uniform(-0.5, 0.5, 50)) % 360
    places_dec = np.clip(dec + rng.uniform(-0.5, 0.5, 50), -90, 90)
    ranges = healpix.cover(places_ra, places_dec, 0.01)
    shifted = np.clip(places_dec + 0.0099, -90, 90)
    pixels = healpix.pixel(places_ra, shifted).tolist() + healpix.pixel(places_ra, places_dec).tolist()
    assert all(_inside(pixel, ranges) for pixel in pixels)


def test_places_all_over_the_sky_are_covered() -> None:
    ra, dec = np.array([0.0, 180.0]), np.array([0.0, 0.0])
    ranges = healpix.cover(ra, dec, 0.01)
    assert all(_inside(pixel, ranges) for pixel in healpix.pixel(ra, dec).tolist())


@settings(max_examples=200, deadline=None)
@given(ra=RA, dec=st.floats(-89, 89), arcsec=st.floats(0.1, 60), angle=st.floats(0, 2 * np.pi))
def test_a_small_circle_is_covered_up_to_its_edge(ra: float, dec: float, arcsec: float, angle: float) -> None:
    """Smaller than a pixel it may still lie on several."""
    reach = arcsec / 3600 * (1 - 1e-6)
    edge_dec = dec + reach * np.cos(angle)
    edge_ra = (ra + reach * np.sin(angle) / np.cos(np.radians(edge_dec))) % 360
    inside = healpix.pixel(np.array([edge_ra]), np.array([edge_dec]))[0]
    assert _inside(int(inside), healpix.cone(ra, dec, arcsec / 3600))


def test_places_that_the_search_alone_left_out() -> None:
    ranges = healpix.cone(348.680377, 71.396332, 2.0 / 3600)
    angle = np.linspace(0, 2 * np.pi, 400)
    dec = 71.396332 + 1.99 / 3600 * np.cos(angle)
    ra = 348.680377 + 1.99 / 3600 * np.sin(angle) / np.cos(np.radians(dec))
    assert all(_inside(pixel, ranges) for pixel in healpix.pixel(ra, dec).tolist())
