"""One file into the ledger, and what its content, and its place, say of those that are known.

A camera may write each frame under one name, ``latest.fits``, and file it under another: so the file that an
exposure was received as may be gone, or hold the next frame, while a copy of it lives on. That file may lie
on another disk, which may be away: it is not waited for, and what it does not say is left as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from nightflow.file_names import as_named, as_text
from nightflow.instruments.fits_file import content_at
from nightflow.sensor.answers import Disks
from nightflow.store.copies import copies_of_displaced, has_others, move, original_of
from nightflow.store.database import Database
from nightflow.store.ledger import PLACE, Received, receive
from nightflow.store.models import State

__all__ = ["enter"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How long another disk may take to say whether a file is there."""
READ_SECONDS = 20.0
"""How long it may take to read a file."""
_DISKS = Disks()

_T = TypeVar("_T")


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
        A duplicate only where its exposure's own file holds the content, or may hold it, for its disk may be
        away: who reduces the exposure looks for the content at all of its paths.

    Raises
    ------
    RetryLater
        The store is away.
    """
    name = as_text(path)
    _follow(database, name, sha256)
    # Before it has its row: where the store is away in between, all of it is done when it is tried again.
    _rescue(database, name, sha256)
    received = receive(database, name, sha256, size, priority=priority, now=now)
    if received.state == State.DUPLICATE and _take_over(database, name, sha256):
        received = receive(database, name, sha256, size, priority=priority, now=now)
    return received


def _follow(database: Database, name: str, sha256: str) -> None:
    """Let the row of a file that was renamed say so: else it were a duplicate of one that is gone."""
    original = original_of(database, sha256)
    if original is None or original.path == name or not _is_gone(original.path, name):
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
        lost = _content_at(original.path, name) not in (sha256, None)
    if not lost or not move(database, sha256, original.path, name):
        return False
    log.info("%s: takes the place of %s, which holds another content now", name, original.path)
    return True


def _rescue(database: Database, name: str, sha256: str) -> None:
    """Let exposures whose file was overwritten by this one say where their copies lie."""
    for content, copy in copies_of_displaced(database, name, sha256):
        if _content_at(copy, name) == content and move(database, content, name, copy):
            log.info("%s: takes the place of %s, which was overwritten", copy, name)


def _content_at(path: str, beside: str) -> str | None:
    """Return the hash of what lies at a path, None where that cannot be told now."""
    if _is_gone(path, beside):
        return ""
    return _looked(path, beside, partial(content_at, path), otherwise=None, seconds=READ_SECONDS)


def _is_gone(path: str, beside: str) -> bool:
    return not _looked(path, beside, partial(_may_be_there, path), otherwise=True, seconds=LOOK_SECONDS)


def _looked(path: str, beside: str, look: Callable[[], _T], *, otherwise: _T, seconds: float) -> _T:
    """Look at a file; only the folder of one that was just read is sure to answer."""
    if Path(path).parent == Path(beside).parent:
        return look()
    return _DISKS.look(Path(path), look, otherwise=otherwise, seconds=seconds)


def _may_be_there(path: str) -> bool:
    try:
        return as_named(path).exists()
    except OSError:
        return True  # it cannot be looked at
