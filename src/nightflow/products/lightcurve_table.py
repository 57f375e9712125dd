"""Light curves as files: CSV, ECSV, VOTable, Parquet, with the same columns in the same order."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import MaskedColumn, Table

from nightflow.errors import ConfigurationError
from nightflow.fits_output import replacing
from nightflow.lightcurves.light_curve import COLUMNS, Column, LightCurve
from nightflow.products.table_files import ENCODERS

__all__ = ["FORMATS", "encode", "to_table", "write"]


def encode(curve: LightCurve, format: str = "csv") -> bytes:
    """Return a light curve as the content of a file.

    Parameters
    ----------
    curve : LightCurve
    format : {"csv", "ecsv", "votable", "parquet"}
        In CSV an empty cell is null; the others mark null by their own means and carry units and notes.

    Raises
    ------
    ConfigurationError
        There is no such format.
    """
    if format not in FORMATS:
        raise ConfigurationError(f"format {format!r} is not known; use one of {', '.join(FORMATS)}")
    return _csv(curve) if format == "csv" else ENCODERS[format](to_table(curve))


def write(curve: LightCurve, path: Path, format: str = "csv") -> None:
    """Write a light curve to a file; a file of that name is replaced at once or not at all."""
    content = encode(curve, format)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def to_table(curve: LightCurve) -> Table:
    """Return an astropy table with units, descriptions and masked nulls."""
    table = Table([_masked(curve, column) for column in COLUMNS])
    table.meta.update(curve.meta)
    return table


def _csv(curve: LightCurve) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in COLUMNS])
    writer.writerows(zip(*(_cells(curve, column) for column in COLUMNS), strict=True))
    return out.getvalue().encode()


def _masked(curve: LightCurve, column: Column) -> MaskedColumn:
    values = curve[column.name]
    mask = ~np.isfinite(values) if column.dtype is float else np.zeros(len(values), bool)
    filled = np.where(mask, 0.0, values) if column.dtype is float else _typed(values, column)
    return MaskedColumn(
        filled, name=column.name, mask=mask, unit=column.unit or None, description=column.description
    )


def _typed(values: np.ndarray, column: Column) -> np.ndarray:
    # A column of text without rows would otherwise have no width, which VOTable cannot write.
    return values.astype(np.int64) if column.dtype is int else values.astype("U" if len(values) else "U1")


def _values(curve: LightCurve, column: Column) -> list[Any]:
    values = curve[column.name].tolist()
    if column.dtype is float:
        return [value if math.isfinite(value) else None for value in values]
    return [column.dtype(value) for value in values]


def _cells(curve: LightCurve, column: Column) -> list[Any]:
    return ["" if value is None else value for value in _values(curve, column)]


FORMATS = ("csv", *ENCODERS)
"""Names of the formats."""
