from __future__ import annotations

import pytest
from astropy.wcs import WCS

from nightflow.astrometry.geometry import field_radius, geometry
from tests.unit.astrometry.synthetic import SHAPE, make_wcs


def plain(cd: list[list[float]]) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [10.0, 20.0]
    wcs.wcs.crpix = [500.5, 400.5]
    wcs.wcs.cd = cd
    return wcs


# worked out by hand: CD's columns are where +x and +y point, (east, north)
@pytest.mark.parametrize(
    ("cd", "rotation", "parity"),
    [
        ([[-1e-3, 0], [0, 1e-3]], 0.0, 1),  # north up, east left
        ([[1e-3, 0], [0, 1e-3]], 0.0, -1),  # north up, east right
        ([[1e-3, 0], [0, -1e-3]], 180.0, 1),  # turned upside down
        ([[0, 1e-3], [1e-3, 0]], 90.0, 1),  # +y east, +x north
        ([[0, -1e-3], [1e-3, 0]], 270.0, -1),  # +y west, +x north
    ],
)
def test_by_hand(cd, rotation, parity):
    place = geometry(plain(cd), SHAPE)
    assert (place.rotation + 1e-6) % 360.0 == pytest.approx(rotation, abs=1e-4)
    assert place.parity == parity
    assert place.scale == pytest.approx(3.6, rel=1e-6)
    assert place.ra_center == pytest.approx(10.0)
    assert place.dec_center == pytest.approx(20.0)


@pytest.mark.parametrize("dec", [-89.99, 0.0, 89.99])
def test_near_the_poles(dec):
    place = geometry(make_wcs(359.9, dec, rotation=120.0, parity=-1), SHAPE)
    assert place.rotation == pytest.approx(120.0, abs=1e-3)
    assert place.parity == -1


def test_field_radius():
    assert field_radius((300, 400), 3600.0) == 250.0
