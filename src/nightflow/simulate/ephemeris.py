"""Where the sky stands: sidereal time, altitude, airmass, the Sun, barycentric time.

Own formulae, so that a mistake in the reducer's use of a library shows. UT1 is taken as UTC, which is less
than 0.9 s off.
"""

from __future__ import annotations

import numpy as np
from astropy.coordinates import get_body_barycentric, solar_system_ephemeris
from astropy.time import Time
from numpy.typing import NDArray

__all__ = [
    "airmass",
    "altitude",
    "barycentric_julian_date",
    "hour_angle",
    "precess",
    "sidereal_time",
    "sun_position",
]

Array = NDArray[np.float64]

_MJD_J2000 = 51544.5
_DAYS_PER_CENTURY = 36525.0
_ARCSEC = np.pi / 180 / 3600
_LIGHT_KM_PER_DAY = 299792.458 * 86400.0


def sidereal_time(mjd: Array | float, longitude: float) -> Array:
    """Return the mean sidereal time in degrees (IAU 1982) at an east-positive longitude."""
    days = np.asarray(mjd, dtype=float) - _MJD_J2000
    centuries = days / _DAYS_PER_CENTURY
    greenwich = 280.46061837 + 360.98564736629 * days + 0.000387933 * centuries**2
    return (greenwich + longitude) % 360.0


def precess(ra: float, dec: float, mjd: float) -> tuple[float, float]:
    """Return J2000 coordinates referred to the mean equator of date (Lieske 1979, A&A 73, 282), degrees."""
    t = (mjd - _MJD_J2000) / _DAYS_PER_CENTURY
    zeta = (2306.2181 * t + 0.30188 * t**2 + 0.017998 * t**3) * _ARCSEC
    z = (2306.2181 * t + 1.09468 * t**2 + 0.018203 * t**3) * _ARCSEC
    theta = (2004.3109 * t - 0.42665 * t**2 - 0.041833 * t**3) * _ARCSEC
    alpha, delta = np.radians(ra) + zeta, np.radians(dec)
    a = np.cos(delta) * np.sin(alpha)
    b = np.cos(theta) * np.cos(delta) * np.cos(alpha) - np.sin(theta) * np.sin(delta)
    c = np.sin(theta) * np.cos(delta) * np.cos(alpha) + np.cos(theta) * np.sin(delta)
    return float(np.degrees(np.arctan2(a, b) + z) % 360.0), float(np.degrees(np.arcsin(c)))


def hour_angle(ra: float, dec: float, mjd: Array | float, longitude: float) -> Array:
    """Return the hour angle in degrees, -180 to 180, of ICRS coordinates; positive west of the meridian."""
    ra_of_date, _ = precess(ra, dec, float(np.mean(mjd)))
    return (sidereal_time(mjd, longitude) - ra_of_date + 180.0) % 360.0 - 180.0


def altitude(ra: float, dec: float, mjd: Array | float, latitude: float, longitude: float) -> Array:
    """Return the altitude in degrees of ICRS coordinates, without refraction."""
    _, dec_of_date = precess(ra, dec, float(np.mean(mjd)))
    angle = np.radians(hour_angle(ra, dec, mjd, longitude))
    phi, delta = np.radians(latitude), np.radians(dec_of_date)
    return np.degrees(np.arcsin(np.sin(phi) * np.sin(delta) + np.cos(phi) * np.cos(delta) * np.cos(angle)))


def airmass(altitude_degrees: Array | float) -> Array:
    """Return the airmass by Young & Irvine (1967, AJ 72, 945); good to 0.01 above 15 degrees."""
    secant = 1.0 / np.sin(np.radians(np.asarray(altitude_degrees, dtype=float)))
    return np.asarray(secant * (1.0 - 0.0012 * (secant**2 - 1.0)))


def sun_position(mjd: float) -> tuple[float, float]:
    """Return the Sun's right ascension and declination in degrees, to 0.01 deg (Astronomical Almanac, C5)."""
    days = mjd - _MJD_J2000
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = np.radians(280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    obliquity = np.radians(23.439 - 4e-7 * days)
    ra = np.degrees(np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude)))
    return float(ra % 360.0), float(np.degrees(np.arcsin(np.sin(obliquity) * np.sin(longitude))))


def barycentric_julian_date(mjd: Array, ra: float, dec: float) -> Array:
    """Return BJD_TDB of UTC times for ICRS coordinates, as seen from the geocentre: 0.021 s off at most."""
    times = Time(mjd, format="mjd", scale="utc")
    with solar_system_ephemeris.set("builtin"):
        earth = get_body_barycentric("earth", times).xyz.to_value("km")
    alpha, delta = np.radians(ra), np.radians(dec)
    direction = np.array([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)])
    return np.asarray(times.tdb.jd + direction @ earth / _LIGHT_KM_PER_DAY)
