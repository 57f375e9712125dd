"""Nights: from local noon to local noon, named by the date of the evening."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from nightflow.errors import ConfigurationError

__all__ = ["CALENDAR", "night_bounds", "night_of", "no_frames_of", "parse_night"]

CALENDAR = (-678_570.0, 2_973_480.0)
"""MJD of the first and the last days that have a date here, of the years 1 and 9999."""

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_NAMED = 10
"""Nights that a message names."""


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


def no_frames_of(night: str, known: Sequence[str]) -> str:
    """Return what to say of a night without frames: the nights that the ledger has, in order."""
    return f"no frame of the night {night} is in the ledger; {_named(known)}"


def _named(nights: Sequence[str]) -> str:
    if not nights:
        return "it has no night yet; `nightflow run PATH` reduces one"
    if len(nights) <= _NAMED:
        return f"it has {', '.join(nights)}"
    return f"it has {len(nights)} nights from {nights[0]} to {nights[-1]}, the last {', '.join(nights[-3:])}"
