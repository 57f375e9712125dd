from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import EarthLocation, PrecessedGeocentric, SkyCoord
from astropy.time import Time

from nightflow.instruments.header import Site
from nightflow.lightcurves.times import bjd_tdb, hour_angle

PALOMAR = Site(latitude=33.3563, longitude=-116.8650, height=1712.0)
MILLISECOND = 1e-3 / 86400.0


def _by_astropy(mjd: float, ra: float, dec: float, site: Site) -> float:
    """Return BJD_TDB by astropy's own light travel time, with its tables of Earth's rotation."""
    location = EarthLocation.from_geodetic(site.longitude * u.deg, site.latitude * u.deg, site.height * u.m)
    time = Time(mjd, format="mjd", scale="utc", location=location)
    return float((time.tdb + time.light_travel_time(SkyCoord(ra * u.deg, dec * u.deg), "barycentric")).jd)


@pytest.mark.parametrize("mjd", [51544.5, 55197.0, 58107.21, 60310.75])
@pytest.mark.parametrize(("ra", "dec"), [(31.0427, 46.6878), (266.4, -29.0), (0.0, 90.0), (180.0, -5.0)])
def test_as_astropy_to_a_millisecond(mjd: float, ra: float, dec: float) -> None:
    ours = float(bjd_tdb(mjd, ra, dec, PALOMAR))
    assert abs(ours - _by_astropy(mjd, ra, dec, PALOMAR)) < MILLISECOND


def test_the_published_light_travel_time_of_ip_peg() -> None:
    # The documentation of astropy.time, "Barycentric and Heliocentric Light Travel Time Corrections":
    # IP Peg from Greenwich, -0.0037715 and -0.00377286 days.
    greenwich = Site(latitude=51.477811, longitude=-0.001475, height=46.0)
    star = SkyCoord("23:23:08.55", "+18:24:59.3", unit=(u.hourangle, u.deg), frame="icrs")
    mjd = np.array([56325.95833333, 56325.978254])
    tdb = Time(mjd, format="mjd", scale="utc").tdb
    travel = bjd_tdb(mjd, star.ra.deg, star.dec.deg, greenwich) - tdb.jd
    assert travel == pytest.approx([-0.0037715, -0.00377286], abs=2e-8)


def test_towards_and_away_from_the_sun() -> None:
    # At the March equinox the Sun is at RA 0: light of a star there comes to us later than to the Sun by an
    # astronomical unit (499 s), and as much earlier from RA 180. The Sun is within 0.01 au of the barycentre.
    equinox = 60389.13
    sun_side, night_side = (float(bjd_tdb(equinox, ra, 0.0, None)) for ra in (0.0, 180.0))
    assert (night_side - sun_side) * 86400 / 2 == pytest.approx(499.0 * 0.996, abs=8.0)


def test_leap_seconds_are_in() -> None:
    # In the plane of the sky towards the ecliptic pole there is next to no light travel: TDB - UTC is left,
    # 69.184 s since 2017.
    pole_ra, pole_dec = 270.0, 66.5607
    assert (float(bjd_tdb(58000.0, pole_ra, pole_dec, None)) - 2458000.5) * 86400 == pytest.approx(
        69.184, abs=3.0
    )


def test_a_site_moves_the_time_by_at_most_the_radius_of_earth() -> None:
    ra = np.linspace(0, 350, 36)
    with_site, without = bjd_tdb(60000.0, ra, 0.0, PALOMAR), bjd_tdb(60000.0, ra, 0.0, None)
    shift = (with_site - without) * 86400
    assert 0.010 < np.abs(shift).max() < 0.0214


def test_arrays_broadcast_and_nan_stays() -> None:
    many = bjd_tdb(60000.0, np.array([10.0, np.nan, 20.0]), np.array([0.0, 0.0, 5.0]), PALOMAR)
    assert many.shape == (3,)
    assert np.isnan(many).tolist() == [False, True, False]
    assert many[2] == float(bjd_tdb(60000.0, 20.0, 5.0, PALOMAR))
    nights = bjd_tdb(np.array([60000.0, 60001.0]), 10.0, 0.0, PALOMAR)
    assert nights.shape == (2,)
    assert bjd_tdb(60000.0, np.empty(0), np.empty(0), PALOMAR).shape == (0,)


@pytest.mark.parametrize(
    ("mjd", "ra", "longitude"), [(60973.3, 31.04, -105.5), (51544.5, 280.0, 0.0), (59000.9, 359.0, 170.0)]
)
def test_hour_angle_is_that_of_astropy(mjd: float, ra: float, longitude: float) -> None:
    place = EarthLocation(lon=longitude * u.deg, lat=20.0 * u.deg, height=0.0 * u.m)
    time = Time(mjd, format="mjd", scale="utc", location=place)
    star = SkyCoord(ra, 30.0, unit="deg").transform_to(PrecessedGeocentric(equinox=time, obstime=time))
    expected = (time.sidereal_time("mean") - star.ra).wrap_at(180 * u.deg).hour
    found = hour_angle(mjd, ra, longitude)
    assert found == pytest.approx(expected, abs=1.5 / 60.0)


def test_no_site_no_hour_angle() -> None:
    assert hour_angle(60000.0, 10.0, None) is None
    assert hour_angle(None, 10.0, 0.0) is None
