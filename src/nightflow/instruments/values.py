"""Values of FITS headers as they are written, not as they should be: tolerant parsers.

Every parser takes whatever a card may hold (number, text, bool, nothing) and answers None where that
says nothing or nothing sensible. None of them guesses: what may mean two things is decided by the profile.
"""

from __future__ import annotations

import math
import re

__all__ = [
    "parse_angle",
    "parse_binning",
    "parse_dec",
    "parse_exposure",
    "parse_number",
    "parse_oriented_section",
    "parse_ra",
    "parse_section",
    "parse_temperature",
    "parse_text",
]

MAXIMUM_TEXT = 256
"""Longest text that is taken from a header; a long-string card could hold any amount."""

_BLANKS = frozenset({"", "n/a", "na", "nan", "unknown", "undefined", "undef", "null"})
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?"
_NUMBER_WITH_UNIT = re.compile(rf"^({_NUMBER})\s*([^\d\s.:+-][^\d:]*)?$")
_SEXAGESIMAL = re.compile(
    r"^([+-])?\s*(\d{1,3})\s*([:hd°\s])\s*(\d{1,2})\s*(?:[:m'′\s]\s*(\d{1,2}(?:\.\d*)?)?\s*[s\"″]?)?$",
    re.IGNORECASE,
)
_MINUTES_WITH_FRACTION = re.compile(
    r"^([+-])?\s*(\d{1,3})\s*([:hd°\s])\s*(\d{1,2}\.\d+)\s*[m'′]?$", re.IGNORECASE
)
_SECTION = re.compile(r"^\[?\s*(\d{1,9})\s*:\s*(\d{1,9})\s*,\s*(\d{1,9})\s*:\s*(\d{1,9})\s*\]?$")
_BINNING = re.compile(r"^(\d{1,2})(?:\.0*)?(?:\s*[x*,\s]\s*(\d{1,2})(?:\.0*)?)?$", re.IGNORECASE)
_ABSOLUTE_ZERO = -273.15
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}


def parse_text(value: object) -> str:
    """Return a card's value as one line of text, "" where it says nothing ("N/A", "unknown", blank).

    Control characters become spaces, runs of spaces one; at most `MAXIMUM_TEXT` characters are kept.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = str(value)[: 4 * MAXIMUM_TEXT]
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())[:MAXIMUM_TEXT]
    return "" if text.lower() in _BLANKS else text


def is_cut(value: object) -> bool:
    """Return whether `parse_text` keeps a part only of a card's value."""
    return isinstance(value, str) and len(" ".join(value.split())) > MAXIMUM_TEXT


def parse_number(value: object) -> float | None:
    """Return a finite number: 3, 3.0, "3", " +3.0D0 ", "3 e-/ADU"; None for anything else."""
    number, _ = _number_and_unit(value)
    return number


def parse_temperature(value: object, unit: str = "") -> float | None:
    """Return degrees Celsius.

    Parameters
    ----------
    value : object
        Number, or text such as "-20.0" or "11 C"; a unit in the text wins over ``unit``.
    unit : {"", "C", "K", "F"}
        Of the number; "" means Celsius.

    Returns
    -------
    float or None
        None also for what is below absolute zero, as the -1 K that stands for "no data".
    """
    number, suffix = _number_and_unit(value)
    if number is None:
        return None
    scale = (suffix.strip("°. ").upper()[:1] or unit or "C")[0]
    celsius = {"C": number, "K": number + _ABSOLUTE_ZERO, "F": (number - 32.0) / 1.8}.get(scale)
    return celsius if celsius is not None and celsius >= _ABSOLUTE_ZERO else None


def parse_exposure(value: object, unit: str = "") -> float | None:
    """Return seconds, negative ones as such; a unit in the text ("1500 ms") wins over ``unit``."""
    number, suffix = _number_and_unit(value)
    if number is None:
        return None
    factor = _SECONDS.get(suffix.lower().rstrip(".") or unit)
    return None if factor is None else number * factor


def parse_angle(value: object) -> float | None:
    """Return an angle in the unit of its first field: 12.5, "12.5", "+12 30 00.0", "12:30", "-0:30:00".

    The sign of "-0" is kept. Minutes and seconds of 60 are taken, as rounding writes them; more are not.
    """
    sexagesimal = _sexagesimal(value)
    return parse_number(value) if sexagesimal is None else sexagesimal[0]


def parse_ra(value: object, unit: str = "") -> float | None:
    """Return a right ascension in degrees; it may lie outside 0..360.

    Parameters
    ----------
    value : object
        A decimal number is in degrees, or in hours with ``unit="hour"``. Sexagesimal fields are hours,
        or degrees where they are marked as such ("210d30m").
    unit : {"", "hour"}
        Of a decimal number.
    """
    sexagesimal = _sexagesimal(value)
    if sexagesimal is not None:
        angle, mark = sexagesimal
        return angle if mark in "d°" else angle * 15.0
    number = parse_number(value)
    return number * 15.0 if number is not None and unit == "hour" else number


def parse_dec(value: object) -> float | None:
    """Return a declination, latitude or longitude in degrees, decimal or sexagesimal."""
    return parse_angle(value)


def parse_section(value: object) -> tuple[slice, slice] | None:
    """Return (rows, columns), 0-based and half open, of a FITS section such as "[1025:1056,1:1024]".

    FITS counts from 1, includes both ends and names columns first. Reversed ranges are turned round;
    a step is not taken.
    """
    oriented = parse_oriented_section(value)
    return None if oriented is None else oriented[:2]


def parse_oriented_section(value: object) -> tuple[slice, slice, bool, bool] | None:
    """Return (rows, columns, flip_y, flip_x) of a FITS section whose ranges may be reversed.

    "[2048:1025,1:2048]" is columns 1024 to 2047 counted from 0, taken from the right to the left.
    """
    match = _SECTION.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    x1, x2, y1, y2 = (int(number) for number in match.groups())
    if min(x1, x2, y1, y2) < 1:
        return None
    rows, columns = slice(min(y1, y2) - 1, max(y1, y2)), slice(min(x1, x2) - 1, max(x1, x2))
    return rows, columns, y2 < y1, x2 < x1


def parse_binning(value: object) -> tuple[int, int] | None:
    """Return (x, y) of "3 3", "2x1", "2,2", 2 or "2"; a single number counts for both axes."""
    number = parse_number(value) if not isinstance(value, str) else None
    text = f"{abs(number):g}" if number is not None else str(value).strip()
    match = _BINNING.match(text)
    if match is None:
        return None
    x, y = int(match[1]), int(match[2] or match[1])
    return (x, y) if x > 0 and y > 0 else None


def _number_and_unit(value: object) -> tuple[float | None, str]:
    if isinstance(value, bool) or value is None:
        return None, ""
    if isinstance(value, str):
        match = _NUMBER_WITH_UNIT.match(value.strip()[:MAXIMUM_TEXT])
        if match is None:
            return None, ""
        number, unit = float(match[1].upper().replace("D", "E")), (match[2] or "").strip()
    elif isinstance(value, int | float):
        number, unit = _as_float(value), ""
    else:
        return None, ""
    return (number, unit) if math.isfinite(number) else (None, "")


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _sexagesimal(value: object) -> tuple[float, str] | None:
    """Return the angle in units of its first field, and the mark behind that field in small letters."""
    if not isinstance(value, str):
        return None
    text = value.strip()[:MAXIMUM_TEXT]
    match = _SEXAGESIMAL.match(text) or _MINUTES_WITH_FRACTION.match(text)
    if match is None:
        return None
    sign, whole, mark, minutes, *rest = match.groups()
    seconds = float(rest[0]) if rest and rest[0] else 0.0
    if float(minutes) > 60.0 or seconds > 60.0:
        return None
    angle = int(whole) + float(minutes) / 60.0 + seconds / 3600.0
    return (-angle if sign == "-" else angle), mark.lower()
