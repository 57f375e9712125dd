"""Rows as the driver gives them: what lies above it takes longer than the read of a light curve."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.sql.compiler import SQLCompiler
from sqlmodel import Session

__all__ = ["read_rows"]

_KEPT = 32
"""Statements whose text is kept."""


def read_rows(session: Session, statement: Select[Any], **values: Any) -> list[dict[str, Any]]:
    """Return the rows of a statement, each by the names of its columns.

    Parameters
    ----------
    statement : Select
        Of columns that need no conversion, numbers and text, and without lists. Its text is made once, as
        long as it is the same object.
    values : object
        Of its `bindparam`, as the driver takes them: text from outside goes through
        `nightflow.store.models.plain_text` before.
    """
    connection = session.connection()
    compiled = _compiled(statement, connection.dialect)
    given = compiled.construct_params(values)
    driver: Any = connection.connection.driver_connection
    if compiled.positional:
        rows = driver.execute(str(compiled), [given[name] for name in compiled.positiontup or ()]).fetchall()
    else:
        # Numbers in binary need not be read out of text.
        with driver.cursor(binary=True) as cursor:
            rows = cursor.execute(str(compiled), given).fetchall()
    names = statement.selected_columns.keys()
    return [dict(zip(names, row, strict=True)) for row in rows]


@lru_cache(maxsize=_KEPT)
def _compiled(statement: Select[Any], dialect: Dialect) -> SQLCompiler:
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    return compiled
