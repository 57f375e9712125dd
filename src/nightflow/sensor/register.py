"""Enter a finished file into the ledger."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlmodel import col, select

from nightflow.errors import RetryLater
from nightflow.file_names import as_text
from nightflow.instruments.fits_file import content_hash
from nightflow.sensor.enter import enter
from nightflow.store.database import Database
from nightflow.store.ledger import CONTENT
from nightflow.store.models import Exposure, Priority

__all__ = ["LedgerRegistrar"]

log = logging.getLogger(__name__)

_Seen = tuple[int, int, int]
"""Size, and times of the last change of content and of inode [ns]."""


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
        self._rows: dict[str, tuple[int, datetime]] | None = None
        self._hashes: dict[Path, tuple[_Seen, str]] = {}

    def known(self, path: Path, status: os.stat_result) -> bool:
        """Return whether a file has its row, and neither content nor name has changed since that was written.

        The time of the last change of the inode counts, not only that of the content: a tool that copies
        a file over another may give it an old date.

        Raises
        ------
        RetryLater
            The store is away.
        """
        if self._rows is None:
            self._rows = self._read_rows()
        row = self._rows.get(as_text(path))
        if row is None:
            return False
        size, received_at = row
        changed = max(status.st_mtime, status.st_ctime)
        return status.st_size == size and changed <= received_at.timestamp()

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
        seen, sha256 = self._hashed(path)
        received = enter(self._database, path, sha256, seen[0], priority=Priority.LIVE, now=self._now())
        self._hashes.pop(path, None)
        if received.is_new:
            log.info("%s: %s, exposure %d", name, received.state, received.exposure_id)
            self._on_received()

    def _hashed(self, path: Path) -> tuple[_Seen, str]:
        """Return the hash of a file, and what it is known again by.

        It is kept until the row is written: while the store is away, nothing is read again and again.
        """
        before = _seen(path)
        kept = self._hashes.get(path)
        if kept is not None and kept[0] == before:
            return kept
        name = as_text(path)
        hashed = before, content_hash(Path(name))
        if _seen(path) != before:
            raise RetryLater(f"{name}: it changed while it was read")
        self._hashes[path] = hashed
        return hashed

    def _read_rows(self) -> dict[str, tuple[int, datetime]]:
        """Return size and time of receipt of each path, the latest where it was received more than once.

        Not of what waits for its content: a file at one of its paths may be what it waits for.
        """
        waited_for = select(Exposure.sha256).where(Exposure.waits_for == CONTENT)
        columns = select(Exposure.path, Exposure.size, Exposure.received_at).where(
            col(Exposure.sha256).not_in(waited_for)
        )
        with self._database.session() as session:
            rows = session.exec(columns.order_by(Exposure.id)).all()  # type: ignore[arg-type]
        return {path: (size, received_at) for path, size, received_at in rows}


def _seen(path: Path) -> _Seen:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
