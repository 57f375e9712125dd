"""Where the Sun is, seen from a site, and when it is dark there; from installed tables only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from astropy import units
from astropy.coordinates import AltAz, EarthLocation, get_sun
from astropy.time import Time
from astropy.utils import iers
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from nightflow.nights import night_bounds

__all__ = ["DARK", "dark_hours", "installed_tables", "sun_altitude"]

DARK = -12.0
"""Degrees of the Sun's altitude below which a telescope should be at work: the end of nautical twilight."""

_LOOKS = 145
"""Times of a night that are looked at, every ten minutes: in between the Sun moves along a line."""


@contextmanager
def installed_tables() -> Iterator[None]:
    """Let astropy compute with the tables that came with it, however old; the network is not asked.

    The Earth's rotation after their end is that of the last values: 15 arcseconds off in many years.
    """
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
        # By default astropy refuses to use tables whose predictions are older than a month.
        iers.conf.set_temp("auto_max_age", None),
        warnings.catch_warnings(),
    ):
        # Beyond the tables of leap seconds and polar motion: arcseconds at most.
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.filterwarnings("ignore", message=".*dubious year")
        yield


def sun_altitude(
    latitude: float, longitude: float, mjd: float | NDArray[np.floating], height: float = 0.0
) -> NDArray[np.float64]:
    """Return the altitude of the Sun's centre in degrees, without refraction.

    Parameters
    ----------
    latitude, longitude : float
        Degrees, WGS84; longitude positive towards east.
    mjd : float or ndarray
        UTC.
    height : float
        Metres above the ellipsoid.
    """
    with installed_tables():
        times = Time(np.asarray(mjd, np.float64), format="mjd", scale="utc")
        here = AltAz(obstime=times, location=EarthLocation.from_geodetic(longitude, latitude, height))
        altitude = get_sun(times).transform_to(here).alt
    return np.asarray(altitude.to_value(units.deg), np.float64)


def dark_hours(
    latitude: float, longitude: float, night: str, *, below: float = DARK
) -> tuple[float, float] | None:
    """Return from when to when the Sun is lower than ``below`` degrees in a night, UTC MJD, to a minute.

    Parameters
    ----------
    night : str
        Date of the evening, YYYY-MM-DD.

    Returns
    -------
    tuple of float or None
        None where it does not get dark; the two noons where it does not get light.
    """
    times, altitudes = _course(latitude, longitude, night)
    above = altitudes - below
    dark = np.flatnonzero(above < 0.0)
    if not len(dark):
        return None
    return _crossing(times, above, dark[0] - 1), _crossing(times, above, dark[-1])


@lru_cache(maxsize=4)
def _course(latitude: float, longitude: float, night: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times of a night and the Sun's altitudes; kept, for each depth of twilight is asked of them."""
    start, end = night_bounds(night, longitude)
    times = np.linspace(start, end, _LOOKS)
    return times, sun_altitude(latitude, longitude, times)


def _crossing(times: NDArray[np.float64], above: NDArray[np.float64], index: int) -> float:
    """Return when a straight line between two looks meets zero; at either end of the night that end."""
    if index < 0 or index + 1 >= len(times):
        return float(times[max(index, 0)])
    share = above[index] / (above[index] - above[index + 1])
    return float(times[index] + share * (times[index + 1] - times[index]))
