"""What keeps a store small: old versions pruned, their room freed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlmodel import col

from nightflow.errors import RetryLater
from nightflow.store.database import Database
from nightflow.store.failures import translated
from nightflow.store.models import Measurement, MoverDetection, Reduction

__all__ = ["Pruned", "Room", "prune", "vacuum"]

_ROWS_AT_ONCE = 20_000
"""Measurements that one transaction deletes; SQLite needs a few tenths of a second for them."""
_PAUSE = 0.1
"""Seconds in which another process gets SQLite's one lock: it asks again as often as that."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What `prune` deleted, or would delete.

    Attributes
    ----------
    n_reductions : int
        Superseded versions that lost their measurements.
    n_measurements : int
    """

    n_reductions: int
    n_measurements: int


@dataclass(frozen=True, kw_only=True)
class Room:
    """Bytes on the disk before and after."""

    before: int
    after: int


def prune(
    database: Database, *, now: datetime, keep: int = 1, days: float = 30.0, dry_run: bool = False
) -> Pruned:
    """Delete measurements of superseded reductions; the reductions themselves stay as history.

    Current reductions are never touched, nor those that a moving body was found on.

    Parameters
    ----------
    now : datetime
        Aware.
    keep : int
        How many superseded versions of each frame keep their measurements, the newest first.
    days : float
        Versions that were made later than so many days ago keep theirs too.
    dry_run : bool
        Delete nothing.

    Raises
    ------
    RetryLater
        The store is locked or away; what was deleted until then stays deleted.
    """
    counted = _prunable(database, keep, now - timedelta(days=days))
    if not dry_run:
        for number, reductions in enumerate(_batches(counted)):
            if number and not database.is_postgres:
                time.sleep(_PAUSE)
            _delete(database, reductions)
    return Pruned(n_reductions=len(counted), n_measurements=sum(counted.values()))


def vacuum(database: Database) -> Room:
    """Free unused room and count anew what the planner of queries goes by.

    An SQLite file shrinks; Postgres uses the room for the next rows.

    Raises
    ------
    RetryLater
        The store is locked or away, or (SQLite) a reader still needs the old pages.
    """
    if database.is_postgres:
        return _vacuum_postgres(database)
    return _vacuum_sqlite(database)


def _prunable(database: Database, keep: int, made_before: datetime) -> dict[int, int]:
    """Return reduction -> number of its measurements, in the order of the rows."""
    superseded = (
        select(
            col(Reduction.id).label("id"),
            col(Reduction.created_at).label("created_at"),
            func.row_number()
            .over(partition_by=col(Reduction.frame_id), order_by=col(Reduction.version).desc())
            .label("place"),
        )
        .where(~col(Reduction.current))
        .subquery()
    )
    counted = (
        select(superseded.c.id, func.count())
        .join(Measurement, col(Measurement.reduction_id) == superseded.c.id)
        .where(
            superseded.c.place > keep,
            superseded.c.created_at < made_before,
            superseded.c.id.not_in(select(col(MoverDetection.reduction_id))),
        )
        .group_by(superseded.c.id)
        .order_by(superseded.c.id)
    )
    with database.session() as session:
        return {row[0]: row[1] for row in session.execute(counted)}


def _batches(counted: dict[int, int]) -> Iterator[list[int]]:
    """Yield reductions that have some `_ROWS_AT_ONCE` measurements together."""
    batch: list[int] = []
    rows = 0
    for reduction, number in counted.items():
        if batch and rows + number > _ROWS_AT_ONCE:
            yield batch
            batch, rows = [], 0
        batch.append(reduction)
        rows += number
    if batch:
        yield batch


def _delete(database: Database, reductions: list[int]) -> None:
    # Asked again here: what was superseded when it was counted must still be.
    superseded = select(col(Reduction.id)).where(col(Reduction.id).in_(reductions), ~col(Reduction.current))
    with database.write() as session:
        session.execute(delete(Measurement).where(col(Measurement.reduction_id).in_(superseded)))


def _vacuum_postgres(database: Database) -> Room:
    size = text("SELECT pg_database_size(current_database())")
    alone = database.engine.execution_options(isolation_level="AUTOCOMMIT")
    with translated(database.url), alone.connect() as connection:
        before = connection.execute(size).scalar_one()
        connection.execute(text("VACUUM (ANALYZE)"))
        return Room(before=before, after=connection.execute(size).scalar_one())


def _vacuum_sqlite(database: Database) -> Room:
    # The driver's own connection: the engine's would begin a transaction.
    with translated(database.url), closing(database.engine.raw_connection()) as connection:
        driver: Any = connection.driver_connection
        before = _bytes(driver)
        driver.execute("VACUUM")
        driver.execute("ANALYZE")
        # VACUUM writes the new pages to the log; the file gets them, and shrinks, here.
        in_use, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if in_use:
            raise RetryLater(
                f"store {database.shown}: read by another process, so that its file cannot shrink yet"
            )
        return Room(before=before, after=_bytes(driver))


def _bytes(driver: Any) -> int:
    """Return the size of the file and of its log."""
    (file,) = driver.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()
    parts = (Path(file + ending) for ending in ("", "-wal"))
    return sum(part.stat().st_size for part in parts if part.is_file())
