"""Julian years, in which proper motions are counted."""

from __future__ import annotations

__all__ = ["MJD_J2000", "julian_year"]

MJD_J2000 = 51544.5


def julian_year(mjd: float) -> float:
    """Return the Julian year of an MJD."""
    return 2000.0 + (mjd - MJD_J2000) / 365.25
