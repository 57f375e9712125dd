"""Bad regions of a chip as people write them down: one a line, in a profile or in a text file.

::

    # comment
    column 256                the whole column; "column 256:258" is three of them
    column 256 1:300          rows 1 to 300 of it
    row 17                    as for columns
    pixel 40 512              column, row
    rectangle 10:20 30:40     columns, rows
    [256:256,1:1024]          a FITS section
    detector 2: column 88     that chip only; without it, all chips of the camera

Numbers are FITS pixels of the raw frame: counted from 1, both ends included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from nightflow.errors import ConfigurationError
from nightflow.instruments.values import parse_section

__all__ = ["BadRegion", "parse_bad_region", "read_bad_pixel_file"]

MEND = (
    'write "column 256", "row 17:18", "column 256 1:300", "pixel 40 512", "rectangle 10:20 30:40" or '
    '"[x1:x2,y1:y2]", counted from 1, both ends included'
)

_DETECTOR = re.compile(r"^detector\s+(\S+?)\s*:\s*(.*)$", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(r"^([0-9]{1,9})(?::([0-9]{1,9}))?$")
_LONGEST_QUOTE = 80


@dataclass(frozen=True)
class BadRegion:
    """A rectangle of a raw frame.

    Attributes
    ----------
    detector : str
        The chip that it is on; "" for every chip.
    rows, columns : slice or None
        0-based and half open; None for all.
    """

    detector: str
    rows: slice | None
    columns: slice | None

    def within(self, shape: tuple[int, int]) -> tuple[slice, slice] | None:
        """Return (rows, columns) of a frame of ``shape``; None where the region reaches out of it."""
        parts = (self.rows, self.columns)
        if any(part is not None and part.stop > length for part, length in zip(parts, shape, strict=True)):
            return None
        return self.rows or slice(0, shape[0]), self.columns or slice(0, shape[1])


def parse_bad_region(text: str) -> BadRegion | None:
    """Return the region that ``text`` describes; None where it describes none."""
    match = _DETECTOR.match(text.strip())
    detector, body = (match[1], match[2].strip()) if match else ("", text.strip())
    section = parse_section(body)
    if section is not None:
        return BadRegion(detector, *section)
    word, *numbers = body.lower().split() or [""]
    ranges = [_range(number) for number in numbers]
    known = [one for one in ranges if one is not None]
    if len(known) < len(ranges):
        return None
    return _shaped(word.removesuffix("s"), detector, known)


def _shaped(word: str, detector: str, ranges: list[slice]) -> BadRegion | None:
    single = all(one.stop - one.start == 1 for one in ranges)
    match word, len(ranges):
        case "column", 1 | 2:
            return BadRegion(detector, ranges[1] if len(ranges) > 1 else None, ranges[0])
        case "row", 1 | 2:
            return BadRegion(detector, ranges[0], ranges[1] if len(ranges) > 1 else None)
        case "rectangle", 2:
            return BadRegion(detector, ranges[1], ranges[0])
        case "pixel", 2 if single:
            return BadRegion(detector, ranges[1], ranges[0])
    return None


def _range(text: str) -> slice | None:
    """Return 0-based pixels of "7" or "7:9"; reversed ends are turned round."""
    match = _RANGE.match(text)
    if match is None:
        return None
    ends = sorted((int(match[1]), int(match[2] or match[1])))
    return slice(ends[0] - 1, ends[1]) if ends[0] >= 1 else None


def read_bad_pixel_file(file: Traversable) -> list[str]:
    """Return the regions of a text file, one a line, without comments; each can be parsed.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or a line describes no region; the message names file, line and text.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{file}: the bad pixels (detector.bad_pixel_file) cannot be read: {error}"
        ) from error
    regions = []
    for number, line in enumerate(text.split("\n"), 1):
        region = line.split("#", 1)[0].strip()
        if region and parse_bad_region(region) is None:
            raise ConfigurationError(
                f"{file}, line {number}: {region[:_LONGEST_QUOTE]!r} is no region; {MEND}"
            )
        regions += [region] if region else []
    return regions
