"""Nights: from local noon to local noon, named by the date of the evening."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from nightflow.errors import ConfigurationError

__all__ = ["CALENDAR", "night_bounds", "night_of", "parse_night"]

CALENDAR = (-678_570.0, 2_973_480.0)
"""MJD of the first and the last days that have a date here, of the years 1 and 9999."""

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def night_of(mjd: float, longitude: float | None) -> str:
    """Return the night's name, such as "2017-12-19".

    Parameters
    ----------
    mjd : float
        UTC, within `CALENDAR`.
    longitude : float or None
        Of the site, degrees, positive towards east; None counts as Greenwich.
    """
    local_noon = mjd + (longitude or 0.0) / 360.0 - 0.5
    return (_MJD_EPOCH + timedelta(days=local_noon)).date().isoformat()


def parse_night(night: str) -> datetime:
    """Return 00:00 UTC of a date written as YYYY-MM-DD.

    Raises
    ------
    ConfigurationError
        It is not such a date.
    """
    try:
        return datetime.strptime(night, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise ConfigurationError(f"night {night!r} is no date: write it as YYYY-MM-DD") from error


def night_bounds(night: str, longitude: float | None) -> tuple[float, float]:
    """Return the UTC MJD of the two local noons that bound a night."""
    days = (parse_night(night) - _MJD_EPOCH).total_seconds() / 86400.0
    start = days + 0.5 - (longitude or 0.0) / 360.0
    return start, start + 1.0
