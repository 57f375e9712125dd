"""Enter a finished file into the ledger."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, exists
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from nightflow.errors import RetryLater
from nightflow.file_names import as_text
from nightflow.instruments.fits_file import content_hash
from nightflow.sensor.enter import enter
from nightflow.sensor.seen import Seen, seen
from nightflow.store.database import Database
from nightflow.store.ledger import CONTENT, PLACE
from nightflow.store.models import Exposure, Priority, State

__all__ = ["LedgerRegistrar"]

log = logging.getLogger(__name__)

_Row = tuple[int, int | None, int | None, datetime]
"""Size, times of the last changes [ns] where they are known, and of receipt."""


class LedgerRegistrar:
    """Writes one ledger row a file.

    Parameters
    ----------
    database : Database
        The store.
    now : callable
        Aware UTC time.
    on_received : callable, optional
        Called after each row that has to be reduced, so that the service need not wait for its next look.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        on_received: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._now = now
        self._on_received = on_received
        self._rows: dict[str, list[_Row]] | None = None
        self._hashes: dict[Path, tuple[Seen, str]] = {}

    def known(self, path: Path, status: os.stat_result) -> bool:
        """Return whether a file has its row, and neither content nor name has changed since it was read.

        The time of the last change of the inode counts, not only that of the content: a tool that copies
        a file over another may give it an old date.

        Raises
        ------
        RetryLater
            The store is away.
        """
        if self._rows is None:
            self._rows = self._read_rows()
        now = seen(status)
        return any(now.is_as(*row) for row in self._rows.get(as_text(path), ()))

    def register(self, path: Path) -> None:
        """Hash a file and write its row; the same file again changes nothing.

        Raises
        ------
        RetryLater
            The file changed while it was read, or the store is away.
        OSError
            The file cannot be read.
        """
        name = as_text(path)
        before, sha256 = self._hashed(path)
        received = enter(self._database, path, sha256, before, priority=Priority.LIVE, now=self._now())
        self._hashes.pop(path, None)
        if received.is_new:
            log.info("%s: %s, exposure %d", name, received.state, received.exposure_id)
            self._on_received()

    def _hashed(self, path: Path) -> tuple[Seen, str]:
        """Return the hash of a file, and what it is known again by.

        It is kept until the row is written: while the store is away, nothing is read again and again.
        """
        before = seen(path.stat())
        kept = self._hashes.get(path)
        if kept is not None and kept[0] == before:
            return kept
        name = as_text(path)
        hashed = before, content_hash(Path(name))
        if seen(path.stat()) != before:
            raise RetryLater(f"{name}: it changed while it was read")
        self._hashes[path] = hashed
        return hashed

    def _read_rows(self) -> dict[str, list[_Row]]:
        """Return of each path what was received there, for a file may come back.

        Not of what waits for its content, nor of what was retired, where another one took its place: a file
        at such a path may be what it waits for.
        """
        columns = select_columns(
            col(Exposure.path),
            col(Exposure.size),
            col(Exposure.mtime_ns),
            col(Exposure.ctime_ns),
            col(Exposure.received_at),
        ).where(~_waits_for(CONTENT), ~(_waits_for(PLACE) & _has_others()))
        rows: defaultdict[str, list[_Row]] = defaultdict(list)
        with self._database.session() as session:
            for path, size, mtime_ns, ctime_ns, received_at in session.connection().execute(columns):
                rows[path].append((size, mtime_ns, ctime_ns, received_at))
        return dict(rows)


def _waits_for(what: str) -> ColumnElement[bool]:
    """Return whether the exposure of a row's content waits for this: the row may be that of a copy."""
    return col(Exposure.sha256).in_(select(Exposure.sha256).where(Exposure.waits_for == what))


def _has_others() -> ColumnElement[bool]:
    """Return whether exposures of other content were received at a row's path.

    Elsewhere a file of what was retired is only a copy, and would be read in vain at each start.
    """
    other = aliased(Exposure)
    return exists().where(
        col(other.path) == col(Exposure.path),
        col(other.sha256) != col(Exposure.sha256),
        col(other.state) != State.DUPLICATE,
    )
