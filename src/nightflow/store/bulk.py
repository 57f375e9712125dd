"""Thousands of measurements in one go: ``COPY`` on Postgres, one prepared insert on SQLite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from nightflow.store.models import plain_text
from nightflow.store.records import MeasurementColumns

__all__ = ["insert_measurements"]

_COLUMNS = (
    "reduction_id", "number", "kind", "mjd_mid", "source_id", "association", "filter", "bjd_tdb", "flux",
    "flux_err", "mag", "mag_err", "x", "y", "ra", "dec", "position_err", "fwhm_px", "flags",
)  # fmt: skip


def insert_measurements(
    session: Session,
    reduction_id: int,
    columns: MeasurementColumns,
    source_ids: NDArray[np.int64],
    association: int,
) -> int:
    """Insert the rows that can be stored; others (without a finite place or flux) are left out.

    Parameters
    ----------
    source_ids : ndarray of int64, shape (n,)
        Source of each row, 0 for none.
    association : int
        Version of the association that gave them.

    Returns
    -------
    int
        How many rows were inserted.
    """
    rows = _rows(reduction_id, columns, source_ids, association)
    if rows and session.get_bind().dialect.name == "postgresql":
        _copy(session, rows)
    elif rows:
        _insert(session, rows)
    return len(rows)


def _rows(
    reduction_id: int, columns: MeasurementColumns, source_ids: NDArray[np.int64], association: int
) -> list[tuple[Any, ...]]:
    keep = columns.usable()
    n = int(keep.sum())
    name = plain_text(columns.filter)
    scalars = {
        "reduction_id": [reduction_id] * n,
        "mjd_mid": [float(columns.mjd_mid)] * n,
        "association": [association] * n,
        "filter": [name] * n,
        "kind": columns.kinds()[keep].tolist(),
        "source_id": [one or None for one in source_ids[keep].tolist()],
    }
    table = [
        scalars[column] if column in scalars else _values(getattr(columns, column)[keep])
        for column in _COLUMNS
    ]
    return list(zip(*table, strict=True))


def _values(array: NDArray[Any]) -> list[Any]:
    """Return plain Python numbers, None for what is not finite."""
    values = np.asarray(array)
    if not np.issubdtype(values.dtype, np.floating):
        return list(values.tolist())
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return list(plain.tolist())


def _insert(session: Session, rows: list[tuple[Any, ...]]) -> None:
    """Hand plain tuples to the driver: naming each value of each row would take longer than the database."""
    places = ", ".join("?" * len(_COLUMNS))
    session.connection().exec_driver_sql(
        f"INSERT INTO measurement ({', '.join(_COLUMNS)}) VALUES ({places})",  # noqa: S608 - our own names
        rows,
    )


def _copy(session: Session, rows: list[tuple[Any, ...]]) -> None:
    driver: Any = session.connection().connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY measurement ({', '.join(_COLUMNS)}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)
