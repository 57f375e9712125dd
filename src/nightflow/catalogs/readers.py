"""Read a catalogue file, whatever its format, into plain columns."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import ascii as astropy_ascii
from astropy.table import Column, Table
from numpy.typing import NDArray

from nightflow.catalogs.index_stars import is_index, read_index_folder, read_index_stars
from nightflow.errors import ConfigurationError

__all__ = ["number_column", "read_table", "text_column"]

_FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".fits": "fits",
    ".fit": "fits",
    ".fts": "fits",
}


def read_table(file: Path) -> Table:
    """Return the table in ``file``; the format follows from the suffix (``.gz`` may follow).

    A FITS file that is an astrometry.net index gives its stars, a folder those of all index files in it.

    Raises
    ------
    ConfigurationError
        The file is absent, of no known format, or does not read as what its suffix says; the folder has no
        index file.
    """
    if file.is_dir():
        return read_index_folder(file)
    if not file.is_file():
        raise ConfigurationError(f"{file}: no such catalogue file")
    file_format = _format_of(file)
    if file_format == "fits" and is_index(file):
        return read_index_stars(file)
    try:
        with warnings.catch_warnings():
            # units and UCDs that astropy does not know are common in catalogues and harmless here
            warnings.simplefilter("ignore")
            if file_format == "ascii.csv":
                return Table.read(file, format=file_format, comment="#")
            if file_format == "votable":
                return Table.read(file, format=file_format, use_names_over_ids=True)
            return Table.read(file, format=file_format)
    except (
        ValueError,
        TypeError,
        OSError,
        IndexError,
        KeyError,
        astropy_ascii.InconsistentTableError,
    ) as error:
        raise ConfigurationError(f"{file}: does not read as {file_format}: {error}") from error


def number_column(table: Table, name: str, unit: str = "") -> NDArray[np.float64]:
    """Return a column as float64 with NaN where it is empty, masked or not a number.

    Parameters
    ----------
    table : astropy.table.Table
        What `read_table` returned.
    name : str
        Column.
    unit : str
        Unit wanted ("deg", "mas / yr"); a column that states another convertible one is converted.
    """
    column = table[name]
    values = _as_float(column)
    stated = getattr(column, "unit", None)
    if unit and stated is not None and not isinstance(stated, u.UnrecognizedUnit):
        stated = u.Unit(stated)
        if stated.is_equivalent(u.Unit(unit)):
            return np.asarray((values * stated).to_value(unit), float)
    return values


def text_column(table: Table, name: str) -> NDArray[np.str_]:
    """Return a column as text; empty where it is masked or holds the number 0 (no identifier)."""
    column = table[name]
    filled = np.asarray([str(value).strip() for value in column.tolist()], dtype=np.str_)
    empty = np.isin(filled, ["0", "None", "--", "nan", "masked"])
    return np.where(empty, "", filled)


def _as_float(column: Column) -> NDArray[np.float64]:
    if np.issubdtype(column.dtype, np.number):
        return np.asarray(np.ma.filled(np.ma.asarray(column, dtype=float), np.nan), float)
    return np.array([_parse(value) for value in column.tolist()], float)


def _parse(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _format_of(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    suffix = next((item for item in reversed(suffixes) if item != ".gz"), "")
    if suffix not in _FORMATS:
        raise ConfigurationError(
            f"{file}: suffix {suffix!r} names no catalogue format; known: {', '.join(sorted(_FORMATS))}"
        )
    if suffix == ".csv" and suffixes[-1] != ".gz":
        with file.open("rb") as stream:
            if stream.read(7) == b"# %ECSV":
                return "ascii.ecsv"
    return _FORMATS[suffix]
