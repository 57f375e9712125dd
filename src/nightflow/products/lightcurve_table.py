"""Light curves as files: CSV, ECSV, VOTable, Parquet, with the same columns in the same order."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io.votable import from_table
from astropy.table import MaskedColumn, Table

from nightflow.errors import ConfigurationError
from nightflow.fits_output import replacing
from nightflow.lightcurves.light_curve import COLUMNS, Column, LightCurve

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
    return FORMATS[format](curve)


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


def _ecsv(curve: LightCurve) -> bytes:
    out = io.StringIO()
    to_table(curve).write(out, format="ascii.ecsv", delimiter=",")
    return out.getvalue().encode()


def _votable(curve: LightCurve) -> bytes:
    table = to_table(curve)
    notes, table.meta = "; ".join(f"{key}: {value}" for key, value in curve.meta.items()), {}
    for column in COLUMNS:
        # VOUnit 1.0 knows no electron; what it does not know goes into the description.
        if "electron" in column.unit:
            table[column.name].unit = None
            table[column.name].description = f"{column.description}, {column.unit}"
    document = from_table(table)
    document.get_first_table().description = notes or None
    out = io.BytesIO()
    document.to_xml(out)
    return out.getvalue()


def _parquet(curve: LightCurve) -> bytes:
    types: dict[type, pa.DataType] = {float: pa.float64(), int: pa.int64(), str: pa.string()}
    schema = pa.schema(
        [
            pa.field(
                column.name,
                types[column.dtype],
                metadata={"unit": column.unit, "description": column.description},
            )
            for column in COLUMNS
        ],
        metadata=curve.meta,
    )
    arrays = [pa.array(_values(curve, column), types[column.dtype]) for column in COLUMNS]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), out)
    return out.getvalue()


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


FORMATS: dict[str, Callable[[LightCurve], bytes]] = {
    "csv": _csv,
    "ecsv": _ecsv,
    "votable": _votable,
    "parquet": _parquet,
}
"""Name of a format -> its encoder."""
