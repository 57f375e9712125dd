"""The simulator's own formulae against astropy."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_sun
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.simulate import ephemeris

LATITUDE, LONGITUDE, HEIGHT = 31.96, -111.60, 2096.0
SITE = EarthLocation.from_geodetic(LONGITUDE * u.deg, LATITUDE * u.deg, HEIGHT * u.m)
MJD = 60973.25


@settings(max_examples=30, deadline=None)
@given(ra=st.floats(0, 359.9), dec=st.floats(-85, 85), hours=st.floats(0, 24))
def test_altitude_agrees_with_astropy(ra: float, dec: float, hours: float) -> None:
    mjd = MJD + hours / 24
    frame = AltAz(obstime=Time(mjd, format="mjd"), location=SITE)
    theirs = SkyCoord(ra * u.deg, dec * u.deg).transform_to(frame).alt.deg
    # Nutation and aberration, which the simulator leaves out, come to 40 arcsec at most.
    assert ephemeris.altitude(ra, dec, mjd, LATITUDE, LONGITUDE) == pytest.approx(theirs, abs=0.012)


@pytest.mark.parametrize(("altitude", "published"), [(90.0, 1.0), (30.0, 1.995), (19.47, 2.9904)])
def test_airmass_at_known_altitudes(altitude: float, published: float) -> None:
    # Bemporad's tables give 1.995 at z = 60 deg.
    assert ephemeris.airmass(altitude) == pytest.approx(published, abs=0.02)


def test_airmass_of_the_demo_field_agrees_with_astropy() -> None:
    mjd = MJD + np.linspace(0.0, 0.16, 9)
    target = SkyCoord(31.0427 * u.deg, 46.6878 * u.deg)
    theirs = target.transform_to(AltAz(obstime=Time(mjd, format="mjd"), location=SITE)).secz
    ours = ephemeris.airmass(ephemeris.altitude(31.0427, 46.6878, mjd, LATITUDE, LONGITUDE))
    np.testing.assert_allclose(ours, theirs, atol=0.002)


def test_hour_angle_grows_westward_and_is_zero_on_the_meridian() -> None:
    mjd = MJD + np.linspace(0.0, 1.0, 25)
    angle = ephemeris.hour_angle(31.0427, 46.6878, mjd, LONGITUDE)
    steps = np.diff(angle) % 360
    np.testing.assert_allclose(steps, 360.98564736629 / 24, atol=1e-6)
    highest = np.argmax(ephemeris.altitude(31.0427, 46.6878, mjd, LATITUDE, LONGITUDE))
    assert abs(angle[highest]) < 8.0


def test_sun_agrees_with_astropy() -> None:
    ra, dec = ephemeris.sun_position(MJD)
    theirs = get_sun(Time(MJD, format="mjd"))
    # Of date against J2000-like GCRS: precession of 26 years is 0.36 deg.
    assert ra == pytest.approx(theirs.ra.deg, abs=0.5)
    assert dec == pytest.approx(theirs.dec.deg, abs=0.2)


def test_barycentric_time_agrees_with_astropy() -> None:
    mjd = MJD + np.array([0.0, 90.0, 180.0, 270.0])
    times = Time(mjd, format="mjd", scale="utc", location=SITE)
    target = SkyCoord(31.0427 * u.deg, 46.6878 * u.deg)
    theirs = (times.tdb + times.light_travel_time(target, ephemeris="builtin")).jd
    ours = ephemeris.barycentric_julian_date(mjd, 31.0427, 46.6878)
    np.testing.assert_allclose((ours - theirs) * 86400, 0.0, atol=0.03)
