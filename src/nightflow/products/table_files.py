"""Tables with units and descriptions as files: ECSV, VOTable, Parquet."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io.votable import from_table
from astropy.io.votable.tree import Param
from astropy.table import MaskedColumn, Table
from astropy.table.meta import get_yaml_from_table

from nightflow.lightcurves.light_curve import Column

__all__ = ["ENCODERS", "table_of_rows"]

_ARROW = {"f": pa.float64(), "i": pa.int64(), "b": pa.bool_(), "U": pa.string()}
"""Kind of a numpy type -> type in the file."""
_FILL: dict[type, Any] = {float: 0.0, int: 0, bool: False, str: ""}


def table_of_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Table:
    """Return rows as an astropy table with units, descriptions and masked nulls (None)."""
    return Table([_column([row[column.name] for row in rows], column) for column in columns])


def _column(values: Sequence[Any], column: Column) -> MaskedColumn:
    fill = _FILL[column.dtype]
    filled = [fill if value is None else value for value in values]
    # A column of text without rows would otherwise have no width, which VOTable cannot write.
    dtype = "U1" if column.dtype is str and not any(filled) else column.dtype
    return MaskedColumn(
        np.array(filled, dtype),
        name=column.name,
        mask=[value is None for value in values],
        unit=column.unit or None,
        description=column.description,
    )


def _ecsv(table: Table) -> bytes:
    out = io.StringIO()
    table.write(out, format="ascii.ecsv", delimiter=",")
    return out.getvalue().encode()


def _votable(table: Table) -> bytes:
    plain = table.copy(copy_data=False)
    plain.meta = {}
    for column in plain.itercols():
        # VOUnit 1.0 knows no electron; what it does not know goes into the description.
        if "electron" in str(column.unit):
            column.description = f"{column.description}, {column.unit}"
            column.unit = None
    document = from_table(plain)
    document.get_first_table().params.extend(
        Param(document, name=key, datatype="unicodeChar", arraysize="*", value=str(value))
        for key, value in table.meta.items()
    )
    out = io.BytesIO()
    document.to_xml(out)
    return out.getvalue()


def _parquet(table: Table) -> bytes:
    """Write nulls as Parquet has them, with what astropy looks for: units, notes, widths of text."""
    notes = {key: str(value) for key, value in table.meta.items()}
    notes |= {
        f"table::len::{column.name}": str(column.dtype.itemsize // 4)
        for column in table.itercols()
        if column.dtype.kind == "U"
    }
    notes["table_meta_yaml"] = "\n".join(get_yaml_from_table(table))
    schema = pa.schema(
        [
            pa.field(
                column.name,
                _ARROW[column.dtype.kind],
                metadata={"unit": str(column.unit or ""), "description": column.description},
            )
            for column in table.itercols()
        ],
        metadata=notes,
    )
    # Readers take a null of text for the word None: it is empty text.
    arrays = [
        pa.array((column.filled("") if column.dtype.kind == "U" else column).tolist(), field.type)
        for column, field in zip(table.itercols(), schema, strict=True)
    ]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), out)
    return out.getvalue()


ENCODERS: dict[str, Callable[[Table], bytes]] = {"ecsv": _ecsv, "votable": _votable, "parquet": _parquet}
"""Name of a format -> what makes the content of a file of a table of `MaskedColumn`."""
