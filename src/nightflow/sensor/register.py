"""Enter a finished file into the ledger."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlmodel import select

from nightflow.errors import RetryLater
from nightflow.file_names import as_text
from nightflow.instruments.fits_file import content_hash
from nightflow.sensor.enter import enter
from nightflow.store.database import Database
from nightflow.store.models import Exposure, Priority

__all__ = ["LedgerRegistrar"]

log = logging.getLogger(__name__)


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
        before = path.stat()
        name = as_text(path)
        sha256 = content_hash(Path(name))
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise RetryLater(f"{name}: it changed while it was read")
        received = enter(self._database, path, sha256, after.st_size, priority=Priority.LIVE, now=self._now())
        if received.is_new:
            log.info("%s: %s, exposure %d", name, received.state, received.exposure_id)
            self._on_received()

    def _read_rows(self) -> dict[str, tuple[int, datetime]]:
        """Return size and time of receipt of each path, the latest where it was received more than once."""
        columns = select(Exposure.path, Exposure.size, Exposure.received_at)
        with self._database.session() as session:
            rows = session.exec(columns.order_by(Exposure.id)).all()  # type: ignore[arg-type]
        return {path: (size, received_at) for path, size, received_at in rows}
