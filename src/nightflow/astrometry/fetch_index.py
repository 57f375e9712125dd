"""Fetch astrometry.net index files: from the official series, a mirror, or a folder.

Each is written under a temporary name, looked into, and renamed only if it is an index: the solver never sees
half a file.
"""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import quote

from nightflow.astrometry.index_file import IndexFile, describe_index
from nightflow.errors import ConfigurationError, NightflowError, RetryLater
from nightflow.fits_output import replacing

__all__ = ["OFFICIAL_SERIES", "SCALES", "fetch_index", "file_name", "names_wanted", "scales_for_field"]

OFFICIAL_SERIES = "http://data.astrometry.net/4100"
"""Index files of Tycho-2 and Gaia DR2 stars by the authors of astrometry.net."""

SCALES: dict[int, tuple[float, float]] = {
    7: (22, 30), 8: (30, 42), 9: (42, 60), 10: (60, 85), 11: (85, 120), 12: (120, 170), 13: (170, 240),
    14: (240, 340), 15: (340, 480), 16: (480, 680), 17: (680, 1000), 18: (1000, 1400), 19: (1400, 2000),
}  # fmt: skip
"""Scale -> sizes of its quads in arcmin, as astrometry.net's documentation gives them for the series 4100."""

_NAME = re.compile(r"index-[A-Za-z0-9][A-Za-z0-9_.+-]{0,80}\.fits")
_SCHEMES = ("http://", "https://", "file://")
_SMALLEST, _LARGEST = 0.2, 1.0
"""Quads of these shares of the field are worth having; the documentation advises 10 to 100 per cent."""
_CHUNK = 1 << 20
_STALL = 30.0
"""Seconds without a byte after which a server counts as dead."""


def file_name(scale: int) -> str:
    """Return the name of the official file of a scale.

    Raises
    ------
    ConfigurationError
        There is no such scale.
    """
    if scale not in SCALES:
        raise ConfigurationError(f"scale {scale}: the series has {min(SCALES)} to {max(SCALES)}")
    return f"index-41{scale:02d}.fits"


def scales_for_field(field_arcmin: float) -> list[int]:
    """Return the scales whose quads fit into a field of this size (shorter side, arcmin).

    Raises
    ------
    ConfigurationError
        None does: the field is narrower than the series was made for.
    """
    found = [
        scale
        for scale, (low, high) in SCALES.items()
        if low <= _LARGEST * field_arcmin and high >= _SMALLEST * field_arcmin
    ]
    if not found:
        narrowest = SCALES[min(SCALES)][0]
        raise ConfigurationError(
            f"a field of {field_arcmin:g}' is narrower than the narrowest index ({narrowest:g}'); build one "
            "from a catalogue with `nightflow index build`, or give --url and names of the series 5200"
        )
    return found


def fetch_index(
    name: str,
    folder: Path,
    base: str = OFFICIAL_SERIES,
    *,
    time_limit: float = 1800.0,
    progress: Callable[[int, int | None], None] | None = None,
) -> IndexFile:
    """Copy one index file into a folder.

    Parameters
    ----------
    name : str
        Such as "index-4110.fits".
    folder : Path
        Where it goes; an index of that name that is whole stays as it is.
    base : str
        Address of the folder that has it: http, https or file.
    time_limit : float
        Seconds for the whole file.
    progress : callable, optional
        Told (bytes so far, bytes in all or None).

    Raises
    ------
    ConfigurationError
        The name is not one of an index file, or the address is of another kind.
    RetryLater
        The server does not answer, has no such file, or is too slow.
    NightflowError
        What came is no index file; it was not kept.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r}: an index file is called index-....fits, without a folder")
    if not base.startswith(_SCHEMES):
        raise ConfigurationError(f"--url {base!r}: begin with http://, https:// or file://")
    target = folder / name
    if target.is_file():
        return describe_index(target)
    address = f"{base.rstrip('/')}/{quote(name)}"
    with replacing(target) as partial:
        _download(address, partial, time_limit, progress)
        found = _checked(partial, address)
    return IndexFile(**{**vars(found), "path": target})


def _checked(partial: Path, address: str) -> IndexFile:
    try:
        return describe_index(partial)
    except NightflowError as error:
        raise NightflowError(str(error).replace(str(partial), address, 1) + "; not kept") from error


def _download(
    address: str, partial: Path, time_limit: float, progress: Callable[[int, int | None], None] | None
) -> None:
    deadline = time.monotonic() + time_limit
    try:
        with (
            urllib.request.urlopen(address, timeout=min(_STALL, time_limit)) as answer,
            partial.open("wb") as file,
        ):
            length = answer.headers.get("Content-Length")
            expected = int(length) if length and length.isdecimal() else None
            done = _copy(answer, file, deadline, expected, progress)
    except (OSError, HTTPException, ValueError) as error:
        raise RetryLater(f"{address}: {error}") from error
    if expected is not None and done != expected:
        raise RetryLater(f"{address}: {done} bytes came, {expected} were announced")


def _copy(
    answer: IO[bytes],
    file: IO[bytes],
    deadline: float,
    expected: int | None,
    progress: Callable[[int, int | None], None] | None,
) -> int:
    done = 0
    while chunk := answer.read(_CHUNK):
        if time.monotonic() > deadline:
            raise TimeoutError(f"too slow: {done} bytes when the time was up")
        file.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, expected)
    return done


def names_wanted(names: Sequence[str], scales: Sequence[int], field_arcmin: float | None) -> list[str]:
    """Return the file names for names, scales and a field, each once.

    Raises
    ------
    ConfigurationError
        Nothing was asked for, or no such scale exists.
    """
    wanted = [*names, *(file_name(scale) for scale in scales)]
    if field_arcmin is not None:
        wanted += [file_name(scale) for scale in scales_for_field(field_arcmin)]
    if not wanted:
        raise ConfigurationError(
            "say which: NAMES, --scale, or --field with the size of your images in arcmin"
        )
    return list(dict.fromkeys(wanted))
