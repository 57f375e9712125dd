"""Where the telescope pointed, where it stands, and through how much air it looked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from astropy import units
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time

from nightflow.instruments.header import Site
from nightflow.instruments.header_reader import Found, HeaderReader
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.values import parse_dec, parse_ra
from nightflow.sun import installed_tables

if TYPE_CHECKING:
    from astropy.units import Quantity

__all__ = ["airmass_of", "frame_airmass", "pointing_hint", "site_of"]

LOWEST_ALTITUDE = 3.0
"""Degrees; below, the secant says nothing about air, and an altitude is a parked telescope's."""
LARGEST_AIRMASS = 40.0


def pointing_hint(reader: HeaderReader) -> tuple[float | None, float | None]:
    """Return (ra, dec) in ICRS degrees; what lies outside 0..360 or +-90 is discarded with a warning."""
    ra = reader.number("ra", lambda found: parse_ra(found.value, found.rule.unit), within=(0.0, 360.0))
    dec = reader.number("dec", lambda found: parse_dec(found.value), within=(-90.0, 90.0))
    return (None if ra is None else ra % 360.0), dec


def site_of(reader: HeaderReader, profile: CameraProfile) -> Site | None:
    """Return the site: the header's where it gives latitude and longitude, else the profile's.

    A height that the header does not give is the profile's, else 0.
    """
    fixed = profile.site
    latitude = reader.number("latitude", lambda found: parse_dec(found.value), within=(-90.0, 90.0))
    longitude = reader.number("longitude", _longitude, within=(-180.0, 180.0))
    height = reader.number("height", within=(-500.0, 10_000.0))
    if height is None:
        height = fixed.height if fixed else 0.0
    if latitude is not None and longitude is not None:
        return Site(latitude=latitude, longitude=longitude, height=height)
    if fixed is None:
        return None
    return Site(latitude=fixed.latitude, longitude=fixed.longitude, height=height)


def _longitude(found: Found) -> float | None:
    """Return degrees, positive towards east, in -180..180."""
    degrees = parse_dec(found.value)
    if degrees is None or not -180.0 <= degrees <= 360.0:
        return None
    east = -degrees if found.rule.sense == "west" else degrees
    return (east + 180.0) % 360.0 - 180.0


def frame_airmass(
    reader: HeaderReader, site: Site | None, ra: float | None, dec: float | None, mjd_mid: float | None
) -> float | None:
    """Return the airmass of the middle of the exposure.

    Computed where site, pointing and time are known; else from the header's altitude, which
    telescopes write at the start of the exposure; else the header's own airmass.
    """
    if site is not None and ra is not None and dec is not None and mjd_mid is not None:
        computed = airmass_of(site, ra, dec, mjd_mid)
        if computed is None:
            reader.warnings.append("the pointing is below the horizon of the site: no airmass computed")
        else:
            return computed
    altitude = reader.number("altitude", lambda found: parse_dec(found.value), within=(LOWEST_ALTITUDE, 90.0))
    if altitude is not None:
        return 1.0 / math.sin(math.radians(altitude))
    return reader.number("airmass", within=(1.0 - 1e-3, LARGEST_AIRMASS))


def airmass_of(site: Site, ra: float, dec: float, mjd: float) -> float | None:
    """Return the secant of the zenith distance, without refraction.

    Parameters
    ----------
    site : Site
        Of the telescope.
    ra, dec : float
        ICRS degrees.
    mjd : float
        UTC.

    Returns
    -------
    float or None
        None below `LOWEST_ALTITUDE`.

    Notes
    -----
    The secant is what telescopes write into their headers and what extinction coefficients are quoted for. It
    exceeds the airmass of Pickering (2002, DIO 12) by 0.2 % at 2, 1 % at 4 and 3 % at 6.
    The Earth's rotation comes from the IERS tables that are installed; for a date after their end the last
    values are used, which moves the airmass by less than 1e-4.
    """
    location = EarthLocation.from_geodetic(site.longitude, site.latitude, site.height)
    with installed_tables():
        frame = AltAz(obstime=Time(mjd, format="mjd", scale="utc"), location=location)
        altitude: Quantity = SkyCoord(ra, dec, unit=units.deg).transform_to(frame).alt
    degrees = float(altitude.to_value(units.deg))
    return 1.0 / math.sin(math.radians(degrees)) if degrees >= LOWEST_ALTITUDE else None
