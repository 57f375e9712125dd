"""Exposure time, start and middle of an exposure."""

from __future__ import annotations

from dataclasses import dataclass

from nightflow.instruments.header_reader import Found, HeaderReader, quoted
from nightflow.instruments.times import SECONDS_PER_DAY, has_no_date, iso_from_mjd, parse_time
from nightflow.instruments.values import parse_exposure

__all__ = ["ExposureTimes", "exposure_time", "exposure_times", "times_without_date"]

EARLIEST_MJD, LATEST_MJD = 40587.0, 88069.0
"""1970 to 2100: a date outside is a camera computer without a clock."""
LONGEST_EXPOSURE = 86400.0
MIDDLE_TOLERANCE = 2.0
"""Seconds, besides 1 % of the exposure, by which the header's middle may differ from start plus half."""


@dataclass(frozen=True)
class ExposureTimes:
    """UTC MJD of start and middle; None where unknown."""

    start: float | None
    middle: float | None

    @property
    def date_obs(self) -> str:
        """The start in ISO 8601 without zone, "" where unknown."""
        return "" if self.start is None else iso_from_mjd(self.start)


def exposure_time(reader: HeaderReader) -> float | None:
    """Return seconds, None where the header says nothing sensible."""
    return reader.number(
        "exptime", lambda found: parse_exposure(found.value, found.rule.unit), within=(0.0, LONGEST_EXPOSURE)
    )


def exposure_times(reader: HeaderReader, exptime: float) -> ExposureTimes:
    """Return start and middle of the exposure.

    The header's own middle wins; then start plus half the exposure; then end minus half of it, with a
    warning, because the end that cameras write often includes the readout.
    """
    half = exptime / 2.0 / SECONDS_PER_DAY
    start, middle = _moment(reader, "date_obs"), _moment(reader, "date_mid")
    if start is not None and middle is not None:
        _compare(reader, start + half, middle, exptime)
        return ExposureTimes(start, middle)
    if start is not None:
        return ExposureTimes(start, start + half)
    if middle is not None:
        return ExposureTimes(middle - half, middle)
    end = _moment(reader, "date_end")
    if end is None:
        return ExposureTimes(None, None)
    reader.warnings.append("no start in the header: middle = end - exptime / 2, readout not considered")
    return ExposureTimes(end - 2.0 * half, end - half)


def times_without_date(reader: HeaderReader) -> str:
    """Return the keywords whose time is of a year before 1 or after 9999 with their values; "" for none."""
    found = [one for quantity in ("date_obs", "date_mid", "date_end") for one in reader.candidates(quantity)]
    return ", ".join(
        f"{one.keyword} = {quoted(one.value)}" for one in found if has_no_date(one.value, one.rule.format)
    )


def _moment(reader: HeaderReader, quantity: str) -> float | None:
    clocks = [found.value for found in reader.candidates("clock")]

    def read(found: Found) -> float | None:
        # A range of the profile may be wider than any calendar.
        if found.rule.range is not None and has_no_date(found.value, found.rule.format):
            return None
        for clock in clocks or [None]:
            mjd = parse_time(found.value, found.rule.format, clock if quantity == "date_obs" else None)
            if mjd is not None:
                return mjd
        return None

    return reader.number(quantity, read, within=(EARLIEST_MJD, LATEST_MJD))


def _compare(reader: HeaderReader, expected: float, middle: float, exptime: float) -> None:
    difference = (middle - expected) * SECONDS_PER_DAY
    if abs(difference) > MIDDLE_TOLERANCE + 0.01 * exptime:
        reader.warnings.append(
            f"the header's middle is {difference:+.1f} s from start + exptime / 2; it is used"
        )
