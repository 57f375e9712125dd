"""Moments as numbers: MJD, and Julian years, in which proper motions are counted."""

from __future__ import annotations

from datetime import datetime

__all__ = ["MJD_J2000", "julian_year", "mjd_of"]

MJD_J2000 = 51544.5

_MJD_UNIX = 40587.0


def julian_year(mjd: float) -> float:
    """Return the Julian year of an MJD."""
    return 2000.0 + (mjd - MJD_J2000) / 365.25


def mjd_of(moment: datetime) -> float:
    """Return the MJD (UTC) of an aware datetime."""
    return _MJD_UNIX + moment.timestamp() / 86400.0
