"""What an astrometry.net index file says of itself, and whether it is one."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning

from nightflow.errors import NightflowError

__all__ = ["IndexFile", "describe_index"]

_NEEDED_TABLES = ("quads", "kdtree_data_codes", "kdtree_data_stars")
_ARCMIN = 60.0


@dataclass(frozen=True, kw_only=True)
class IndexFile:
    """An astrometry.net index.

    Attributes
    ----------
    path : Path
    index_id : int
    n_quads, n_stars : int
    smallest_arcmin, largest_arcmin : float
        Sizes of its quads: images from about 1.4 times the smallest upwards are solved with it.
    """

    path: Path
    index_id: int
    n_quads: int
    n_stars: int
    smallest_arcmin: float
    largest_arcmin: float


def describe_index(path: Path) -> IndexFile:
    """Read the headers of an index file; no table is read.

    Raises
    ------
    NightflowError
        It cannot be read, is cut off, is no FITS file, or is no index; the message says which.
    """
    try:
        with warnings.catch_warnings():
            # What astropy only warns of, such as a missing end, is judged below.
            warnings.simplefilter("ignore", AstropyWarning)
            header, tables, needed = _looked_into(path)
    except (OSError, ValueError, TypeError, VerifyError) as error:
        raise NightflowError(f"{path}: no readable FITS file: {error}") from error
    if path.stat().st_size < needed:
        raise NightflowError(f"{path}: cut off: {path.stat().st_size} bytes, {needed} are needed")
    missing = [name for name in _NEEDED_TABLES if name not in tables]
    if missing or "INDEXID" not in header:
        lacking = ", ".join(missing) or "keyword INDEXID"
        raise NightflowError(f"{path}: a FITS file, but no astrometry.net index: it lacks {lacking}")
    return IndexFile(
        path=path,
        index_id=int(header["INDEXID"]),
        n_quads=int(header.get("NQUADS", 0)),
        n_stars=int(header.get("NSTARS", 0)),
        smallest_arcmin=_ARCMIN * math.degrees(float(header.get("SCALE_L", 0.0))),
        largest_arcmin=_ARCMIN * math.degrees(float(header.get("SCALE_U", 0.0))),
    )


def _looked_into(path: Path) -> tuple[fits.Header, set[str], int]:
    """Return the first header, the names of all columns, and the bytes that the headers announce."""
    with fits.open(path, memmap=True, lazy_load_hdus=False) as hdus:
        tables = {name for hdu in hdus[1:] for name in _columns(hdu)}
        end = hdus[-1].fileinfo()
        return hdus[0].header, tables, int(end["datLoc"]) + int(end["datSpan"])


def _columns(hdu: object) -> list[str]:
    columns = getattr(hdu, "columns", None)
    return list(columns.names) if columns is not None else []
