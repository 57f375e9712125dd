"""Times of FITS headers, in all the ways in which they are written, as UTC MJD.

A time without a zone is UTC, as the FITS standard says. Leap seconds: a second 60 is taken, and is the first
second of the next day in MJD.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from nightflow.instruments.values import parse_number, parse_text
from nightflow.nights import CALENDAR

__all__ = ["DateAndClock", "has_no_date", "iso_from_mjd", "mjd_from_iso", "parse_time"]

SECONDS_PER_DAY = 86400.0
MJD_ZERO_IN_JD = 2400000.5
UNIX_EPOCH_MJD = 40587.0
_MJD_ZERO = date(1858, 11, 17).toordinal()

_DATE = r"(?:(\d{4})[-/](\d{1,2})[-/](\d{1,2})|(\d{1,2})/(\d{1,2})/(\d{2}))"
_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2}(?:[.,]\d*)?))?"
_ZONE = r"(?:\s*(Z|UTC?|[+-]\d{2}(?::?\d{2})?))?"
_DATE_TIME = re.compile(rf"^{_DATE}(?:(?:T|\s+){_CLOCK}{_ZONE})?$", re.IGNORECASE)
_OTHER_YEAR = re.compile(r"^(?:[+-]?\d{5,}|-\d{1,4})-\d{1,2}-\d{1,2}(?!\d)")
"""A date of a year that is not of four digits."""
_CLOCK_ONLY = re.compile(rf"^{_CLOCK}{_ZONE}$", re.IGNORECASE)


@dataclass(frozen=True)
class DateAndClock:
    """A point in time as its date and its time of day were written.

    Attributes
    ----------
    mjd_date : int
        MJD of the date's midnight.
    seconds : float or None
        Seconds since that midnight, in UTC once ``offset`` is taken off; None where only a date is given.
    offset : float
        Seconds by which the zone is ahead of UTC.
    """

    mjd_date: int
    seconds: float | None = None
    offset: float = 0.0

    @property
    def mjd(self) -> float | None:
        """UTC MJD, or None where only a date is given."""
        if self.seconds is None:
            return None
        return self.mjd_date + (self.seconds - self.offset) / SECONDS_PER_DAY


def parse_time(value: object, format: str = "", clock: object = None) -> float | None:
    """Return a UTC MJD.

    Parameters
    ----------
    value : object
        What the card holds.
    format : {"", "iso", "date", "jd", "mjd", "unix"}
        "" and "iso": a date with a time, with or without zone; "date": a date, to which ``clock`` gives the
        time; the others: a number.
    clock : object
        Time of day (or a date with a time, whose time is taken). A time that stands in ``value`` wins.

    Returns
    -------
    float or None
        None where this is no time, or a date without a time of day.
    """
    if format in ("jd", "mjd", "unix"):
        return _from_number(value, format)
    written = _date_and_clock(parse_text(value))
    if written is None:
        return None
    if written.seconds is None and (time_of_day := _clock(parse_text(clock))) is not None:
        written = DateAndClock(written.mjd_date, *time_of_day)
    return written.mjd


def has_no_date(value: object, format: str = "") -> bool:
    """Return whether this is a time of a year that no calendar has here: before 1 or after 9999.

    Parameters are those of `parse_time`.
    """
    if format in ("jd", "mjd", "unix"):
        mjd = _from_number(value, format)
        return mjd is not None and not CALENDAR[0] <= mjd <= CALENDAR[1]
    return _OTHER_YEAR.match(parse_text(value)) is not None


def mjd_from_iso(text: str) -> float | None:
    """Return the UTC MJD of an ISO 8601 time, None where it is none."""
    return parse_time(text)


def iso_from_mjd(mjd: float) -> str:
    """Return ISO 8601 without zone, to the millisecond; the time is within `nightflow.nights.CALENDAR`."""
    moment = datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=mjd)
    rounded = moment + timedelta(microseconds=500)
    return rounded.strftime("%Y-%m-%dT%H:%M:%S.") + f"{rounded.microsecond // 1000:03d}"


def _from_number(value: object, format: str) -> float | None:
    number = parse_number(value)
    if number is None:
        return None
    if format == "jd":
        return number - MJD_ZERO_IN_JD
    return number if format == "mjd" else UNIX_EPOCH_MJD + number / SECONDS_PER_DAY


def _date_and_clock(text: str) -> DateAndClock | None:
    match = _DATE_TIME.match(text)
    if match is None:
        return None
    year, month, day, old_day, old_month, old_year, *clock = match.groups()
    if year is None:  # dd/mm/yy, FITS before 1997
        year, month, day = f"19{old_year}", old_month, old_day
    try:
        mjd_date = date(int(year), int(month), int(day)).toordinal() - _MJD_ZERO
    except ValueError:
        return None
    if clock[0] is None:
        return DateAndClock(mjd_date)
    time_of_day = _seconds(*clock)
    return None if time_of_day is None else DateAndClock(mjd_date, *time_of_day)


def _clock(text: str) -> tuple[float, float] | None:
    """Return seconds since midnight and the zone's offset, of a clock or of the clock in a full time."""
    if match := _CLOCK_ONLY.match(text):
        return _seconds(*match.groups())
    written = _date_and_clock(text)
    return None if written is None or written.seconds is None else (written.seconds, written.offset)


def _seconds(hour: str, minute: str, second: str | None, zone: str | None) -> tuple[float, float] | None:
    seconds = float((second or "0").replace(",", "."))
    if int(hour) > 24 or int(minute) > 59 or seconds >= 61.0:
        return None
    return int(hour) * 3600 + int(minute) * 60 + seconds, _offset(zone)


def _offset(zone: str | None) -> float:
    if zone is None or zone[0] not in "+-":
        return 0.0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = int(digits[:2]) * 3600.0 + int(digits[2:]) * 60.0
    return -offset if zone[0] == "-" else offset
