"""One file into the ledger, and what its content, and its place, say of those that are known.

A camera may write each frame under one name, ``latest.fits``, and file it under another: so the file that an
exposure was received as may be gone, or hold the next frame, while a copy of it lives on.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from nightflow.file_names import as_named, as_text
from nightflow.instruments.fits_file import content_at
from nightflow.store.copies import copies_of_displaced, has_others, move, original_of
from nightflow.store.database import Database
from nightflow.store.ledger import PLACE, Received, receive
from nightflow.store.models import State

__all__ = ["enter"]

log = logging.getLogger(__name__)


def enter(
    database: Database, path: Path, sha256: str, size: int, *, priority: int, now: datetime
) -> Received:
    """Write the row of a file whose content was hashed; the same file again changes nothing.

    Parameters
    ----------
    path : Path
        As the system names it.
    sha256, size, priority, now
        As for `nightflow.store.ledger.receive`.

    Returns
    -------
    Received
        A duplicate only where its exposure's own file holds the content, or may hold it.

    Raises
    ------
    RetryLater
        The store is away.
    """
    name = as_text(path)
    _follow(database, name, sha256)
    received = receive(database, name, sha256, size, priority=priority, now=now)
    if received.state == State.DUPLICATE and _take_over(database, name, sha256):
        received = receive(database, name, sha256, size, priority=priority, now=now)
    if received.is_new:
        _rescue(database, name, sha256)
    return received


def _follow(database: Database, name: str, sha256: str) -> None:
    """Let the row of a file that was renamed say so: else it were a duplicate of one that is gone."""
    original = original_of(database, sha256)
    if original is None or original.path == name or not _is_gone(original.path):
        return
    if move(database, sha256, original.path, name):
        log.info("%s: it was %s before", name, original.path)


def _take_over(database: Database, name: str, sha256: str) -> bool:
    """Make a copy the file of its exposure, where that has lost its own; return whether it had."""
    original = original_of(database, sha256)
    if original is None:
        return False
    if original.waits_for == PLACE:
        # Retired: its content comes back only where another one has taken its place.
        lost = has_others(database, name, sha256)
    else:
        lost = content_at(original.path) not in (sha256, None)
    if not lost or not move(database, sha256, original.path, name):
        return False
    log.info("%s: takes the place of %s, which holds another content now", name, original.path)
    return True


def _rescue(database: Database, name: str, sha256: str) -> None:
    """Let exposures whose file was overwritten by this one say where their copies lie."""
    for content, copy in copies_of_displaced(database, name, sha256):
        if content_at(copy) == content and move(database, content, name, copy):
            log.info("%s: takes the place of %s, which was overwritten", copy, name)


def _is_gone(path: str) -> bool:
    try:
        return not as_named(path).exists()
    except OSError:
        return False  # it cannot be looked at, and may be there
