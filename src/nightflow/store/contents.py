"""Whether a database holds anything that could be lost."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, literal, select, table

__all__ = ["has_rows"]


def has_rows(connection: Connection) -> bool:
    """Return whether any table has a row, one of nightflow's or another; but for the note of the revision."""
    names = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
    some = (select(literal(1)).select_from(table(name)).limit(1) for name in names)
    return any(connection.execute(one).first() is not None for one in some)
