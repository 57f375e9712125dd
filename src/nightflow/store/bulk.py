"""Thousands of rows in one go: binary ``COPY`` on Postgres, plain tuples of the driver's on SQLite."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Double, Select, cast, func, literal, select
from sqlmodel import Session

from nightflow.store.models import plain_text
from nightflow.store.records import MeasurementColumns

__all__ = ["insert_measurements", "read_numbers"]

_COLUMNS: dict[str, str] = {
    "reduction_id": "i4", "number": "i4", "kind": "text", "mjd_mid": "f8", "source_id": "i8",
    "association": "i4", "filter": "text", "bjd_tdb": "f8", "flux": "f8", "flux_err": "f8", "mag": "f8",
    "mag_err": "f8", "x": "f8", "y": "f8", "ra": "f8", "dec": "f8", "position_err": "f8", "fwhm_px": "f8",
    "flags": "i4",
}  # fmt: skip
"""Names of the columns, and their types as numpy spells them."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
_END = b"\xff\xff"


def insert_measurements(
    session: Session,
    reduction_id: int,
    columns: MeasurementColumns,
    source_ids: NDArray[np.int64],
    association: int | NDArray[np.int64],
) -> int:
    """Insert the rows that can be stored; others (without a finite place or flux) are left out.

    Parameters
    ----------
    source_ids : ndarray of int64, shape (n,)
        Source of each row, 0 for none.
    association : int or ndarray of int64, shape (n,)
        Version of the association that gave them.

    Returns
    -------
    int
        How many rows were inserted.
    """
    table = _table(reduction_id, columns, source_ids, association)
    n = len(table["number"])
    if n and session.get_bind().dialect.name == "postgresql":
        _copy(session, table)
    elif n:
        _insert(session, table)
    return n


def read_numbers(session: Session, statement: Select[Any]) -> NDArray[np.float64]:
    """Return what a statement selects as doubles, in any order: a row of the answer a column of the array.

    Parameters
    ----------
    statement : Select
        Of numbers that are never null.

    Returns
    -------
    ndarray of float64, shape (columns, rows)
    """
    if session.get_bind().dialect.name == "postgresql":
        return _aggregated(session, statement)
    # The driver's own tuples: rows of SQLAlchemy's take a third of the time of the read.
    rows = session.connection().execute(statement).cursor.fetchall()
    n_columns = len(statement.selected_columns)
    values = np.fromiter(chain.from_iterable(rows), np.float64, n_columns * len(rows))
    return values.reshape(-1, n_columns).T


def _aggregated(session: Session, statement: Select[Any]) -> NDArray[np.float64]:
    """Have Postgres join each column to one string of bytes: its driver makes an object of each number."""
    columns = statement.subquery().columns
    joined = (func.string_agg(func.float8send(cast(one, Double)), literal(b"")) for one in columns)
    row = session.connection().execute(select(*joined)).one()
    return np.array([np.frombuffer(one or b"", ">f8") for one in row], np.float64)


def _table(
    reduction_id: int,
    columns: MeasurementColumns,
    source_ids: NDArray[np.int64],
    association: int | NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Return the columns of the rows that are kept; what is null is NaN, or source 0."""
    keep = columns.usable()
    n = int(keep.sum())
    special: dict[str, NDArray[Any]] = {
        "reduction_id": np.full(n, reduction_id),
        "mjd_mid": np.full(n, columns.mjd_mid, np.float64),
        "association": np.broadcast_to(association, len(columns))[keep],
        "filter": np.full(n, plain_text(columns.filter), object),
        "kind": columns.kinds()[keep],
        "source_id": source_ids[keep],
    }
    return {name: special[name] if name in special else getattr(columns, name)[keep] for name in _COLUMNS}


def _is_null(name: str, values: NDArray[Any]) -> NDArray[np.bool_]:
    if name == "source_id":
        return values == 0
    return ~np.isfinite(values) if _COLUMNS[name] == "f8" else np.zeros(len(values), bool)


def _insert(session: Session, table: dict[str, NDArray[Any]]) -> None:
    """Hand plain tuples to the driver: naming each value of each row would take longer than the database."""
    places = ", ".join("?" * len(_COLUMNS))
    rows = list(zip(*(_plain(name, values) for name, values in table.items()), strict=True))
    session.connection().exec_driver_sql(
        f"INSERT INTO measurement ({', '.join(_COLUMNS)}) VALUES ({places})",  # noqa: S608 - our own names
        rows,
    )


def _plain(name: str, values: NDArray[Any]) -> list[Any]:
    """Return plain Python values, None for null."""
    null = _is_null(name, values)
    if not null.any():
        return list(values.tolist())
    plain = values.astype(object)
    plain[null] = None
    return list(plain.tolist())


def _copy(session: Session, table: dict[str, NDArray[Any]]) -> None:
    """Send the rows in binary: to write each number as text would take as long as all the rest."""
    driver: Any = session.connection().connection.driver_connection
    statement = f"COPY measurement ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_SIGNATURE)
        for part in _alike(table):
            copy.write(_binary(part))
        copy.write(_END)


def _alike(table: dict[str, NDArray[Any]]) -> list[dict[str, NDArray[Any] | None]]:
    """Split the rows into parts with the same nulls and texts; a column that is null becomes None."""
    nulls = {name: _is_null(name, values) for name, values in table.items()}
    # One number for what a row shares with others: a bit for each column that is null, then its texts.
    pattern = np.zeros(len(table["number"]), np.int64)
    for name, kind in _COLUMNS.items():
        if kind == "text":
            texts, index = np.unique(table[name].astype(str), return_inverse=True)
            pattern = pattern * len(texts) + index
        else:
            pattern = pattern * 2 + nulls[name]
    _, first, inverse = np.unique(pattern, return_index=True, return_inverse=True)
    return [
        {
            name: None if nulls[name][first[part]] else values[inverse == part]
            for name, values in table.items()
        }
        for part in range(len(first))
    ]


def _binary(part: dict[str, NDArray[Any] | None]) -> bytes:
    """Return rows of Postgres's binary COPY: for each the number of fields, for each field length and bytes.

    See the chapter on COPY in its manual. Here all rows have the same lengths, so that they are one array.
    """
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    lengths: dict[str, int] = {"fields": len(_COLUMNS)}
    values: dict[str, Any] = {}
    for name, column in part.items():
        fields.append((f"{name}_length", ">i4"))
        lengths[f"{name}_length"] = -1
        if column is None:
            continue
        kind = _COLUMNS[name]
        text = str(column[0]).encode() if kind == "text" else b""
        size = len(text) if kind == "text" else int(kind[1])
        lengths[f"{name}_length"] = size
        if size:
            fields.append((name, f"V{size}" if kind == "text" else f">{kind}"))
            values[name] = np.void(text) if kind == "text" else column
    n = next(len(column) for column in part.values() if column is not None)
    rows = np.empty(n, dtype=fields)
    for name, value in (lengths | values).items():
        rows[name] = value
    return rows.tobytes()
