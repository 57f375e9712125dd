"""From UTC at the telescope to Barycentric Julian Date in TDB.

BJD_TDB = JD_TDB + (r . n) / c, with r the telescope's place from the barycentre and n the direction of the
star (Eastman, Siverd & Gaudi 2010, PASP 122, 935). Earth's place is ERFA's ``epv00``, good to 5 km or 15
microseconds; the rotation of Earth is taken with UT1 = UTC and without polar motion, which costs 2
microseconds and needs no table from the network.
"""

from __future__ import annotations

import erfa  # type: ignore[import-untyped]
import numpy as np
from astropy.constants import au, c
from astropy.time import Time
from numpy.typing import NDArray

from nightflow.instruments.header import Site
from nightflow.sphere import unit_vectors

__all__ = ["bjd_tdb", "hour_angle"]

_LIGHT_DAYS_PER_AU = float((au / c).value) / 86400.0
_METRES_PER_AU = float(au.value)
_WGS84 = 1
_DAY_0 = 2400000.5
"""Julian date of MJD 0."""


def bjd_tdb(
    mjd_utc: float | NDArray[np.floating],
    ra: float | NDArray[np.floating],
    dec: float | NDArray[np.floating],
    site: Site | None,
) -> NDArray[np.float64]:
    """Return the Barycentric Julian Date in TDB.

    Parameters
    ----------
    mjd_utc : float or ndarray
        Middle of the exposure at the telescope, UTC.
    ra, dec : float or ndarray
        ICRS degrees, broadcast against ``mjd_utc``; NaN gives NaN. The star is taken to be far away.
    site : Site or None
        None: the centre of Earth, wrong by up to 21 ms.

    Returns
    -------
    ndarray of float64
        Days; a double holds it to 40 microseconds.
    """
    time = Time(np.asarray(mjd_utc, float), format="mjd", scale="utc")
    place = _place(time, site)
    delay = np.sum(place * unit_vectors(ra, dec), axis=-1) * _LIGHT_DAYS_PER_AU
    tdb = time.tdb
    return np.asarray(tdb.jd1 + (tdb.jd2 + delay), np.float64)


def hour_angle(mjd_utc: float | None, ra: float, longitude: float | None) -> float | None:
    """Return the hour angle in hours, from -12 to 12; None where time or site is not known.

    Earth's rotation angle less the ICRS right ascension: what precession and nutation leave out is about a
    minute of time for decades from 2000, more near the pole.

    Parameters
    ----------
    mjd_utc : float or None
        Middle of the exposure.
    ra : float
        ICRS degrees.
    longitude : float or None
        Of the site, degrees, positive towards east.
    """
    if mjd_utc is None or longitude is None:
        return None
    turned = float(np.degrees(erfa.era00(_DAY_0, mjd_utc)))
    return ((turned + longitude - ra + 180.0) % 360.0 - 180.0) / 15.0


def _place(time: Time, site: Site | None) -> NDArray[np.float64]:
    """Return the telescope's place from the barycentre, ICRS axes, astronomical units, shape (..., 3)."""
    tdb, tt, utc = time.tdb, time.tt, time.utc
    earth = erfa.epv00(tdb.jd1, tdb.jd2)[1]["p"]
    if site is None:
        return np.asarray(earth)
    terrestrial = erfa.gd2gc(_WGS84, np.radians(site.longitude), np.radians(site.latitude), site.height)
    rotation = erfa.c2t06a(tt.jd1, tt.jd2, utc.jd1, utc.jd2, 0.0, 0.0)
    # c2t06a turns celestial into terrestrial: its transpose the other way.
    celestial = np.einsum("...ji,...j->...i", rotation, terrestrial)
    return np.asarray(earth + celestial / _METRES_PER_AU)
