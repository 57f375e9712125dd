"""Partitions of the measurements: on Postgres one for each calendar month (UTC) of ``mjd_mid``.

They are made when the first frame of a month is appended. Times that no camera can have taken a frame at come
from broken headers; all of them share two partitions, one on either side, so that headers cannot make tables
without end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text
from sqlmodel import Session

from nightflow.store.database import Database, serialise
from nightflow.store.parents import guard_partition

__all__ = ["Partition", "ensure_partition", "names", "partition_of"]

_FIRST_YEAR, _END_YEAR = 1850, 2150
"""Plates have been taken since the first; the second is a limit of the number of tables."""
_MJD_ZERO = date(1858, 11, 17).toordinal()


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A range of time with a table of its own.

    Attributes
    ----------
    name : str
        Of the table.
    first, end : int or None
        MJD of its beginning and of the next one's; None where it has no limit.
    """

    name: str
    first: int | None
    end: int | None

    @property
    def bounds(self) -> str:
        """The clause that attaches it to its parent."""
        first = "MINVALUE" if self.first is None else str(self.first)
        end = "MAXVALUE" if self.end is None else str(self.end)
        return f"FOR VALUES FROM ({first}) TO ({end})"


def partition_of(mjd: float) -> Partition:
    """Return the partition that a time belongs into; there is one for every number, also for none (NaN)."""
    if mjd < _mjd(_FIRST_YEAR, 1):
        return Partition(name=f"measurement_before_{_FIRST_YEAR}", first=None, end=_mjd(_FIRST_YEAR, 1))
    if not mjd < _mjd(_END_YEAR, 1):
        return Partition(name=f"measurement_from_{_END_YEAR}", first=_mjd(_END_YEAR, 1), end=None)
    day = date.fromordinal(math.floor(mjd) + _MJD_ZERO)
    following = (day.year + day.month // 12, day.month % 12 + 1)
    return Partition(
        name=f"measurement_{day.year}_{day.month:02d}",
        first=_mjd(day.year, day.month),
        end=_mjd(*following),
    )


def ensure_partition(database: Database, mjd: float) -> None:
    """Make the partition for a time where it is not there yet (Postgres); else one look into the catalogue.

    It is made in a transaction of its own: what is appended to it may fail and be rolled back without taking
    it away, and its locks are held for a moment only. Readers are not kept waiting.

    Raises
    ------
    RetryLater
        The store is locked or away.
    """
    if not database.is_postgres:
        return
    partition = partition_of(mjd)
    with database.session() as session:
        if _exists(session, partition):
            return
    with database.write() as session:
        # Appends hold this too: none is half-way through the tables that are locked below.
        serialise(session, "association")
        if not _exists(session, partition):
            _create(session, partition)


def names(connection: Connection) -> list[str]:
    """Return the names of the partitions that there are (Postgres)."""
    children = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'measurement'::regclass"
    return sorted(connection.scalars(text(children)))


def _mjd(year: int, month: int) -> int:
    return date(year, month, 1).toordinal() - _MJD_ZERO


def _exists(session: Session, partition: Partition) -> bool:
    attached = text(
        "SELECT 1 FROM pg_inherits"
        " WHERE inhparent = to_regclass('measurement') AND inhrelid = to_regclass(:name)"
    )
    return session.connection().execute(attached, {"name": partition.name}).first() is not None


def _create(session: Session, partition: Partition) -> None:
    """Make a table and attach it: `CREATE TABLE ... PARTITION OF` would lock its parent's readers out."""
    connection = session.connection()
    connection.execute(text(f"CREATE TABLE {partition.name} (LIKE measurement INCLUDING ALL)"))
    guard_partition(connection, partition.name)
    connection.execute(text(f"ALTER TABLE measurement ATTACH PARTITION {partition.name} {partition.bounds}"))
