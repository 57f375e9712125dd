"""One file into the ledger, and what its content, and its place, say of those that are known.

A camera may write each frame under one name, ``latest.fits``, and file it under another: so the file that an
exposure was received as may be gone, or hold the next frame, while a copy of it lives on. That file may lie
on another disk, which may be away: it is not waited for, and what it does not say is left as it was.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from nightflow.file_names import as_named, as_text
from nightflow.instruments.fits_file import content_at
from nightflow.sensor.answers import Disks
from nightflow.sensor.seen import Seen, seen
from nightflow.store.copies import copies_of_displaced, has_others, move, original_of
from nightflow.store.database import Database
from nightflow.store.ledger import CONTENT, PLACE, Received, receive
from nightflow.store.models import Exposure, State

__all__ = ["enter", "takes_over"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How long another disk may take to say whether a file is there."""
READ_SECONDS = 20.0
"""How long it may take to read a file."""
_DISKS = Disks()

_T = TypeVar("_T")


def enter(
    database: Database, path: Path, sha256: str, before: Seen, *, priority: int, now: datetime
) -> Received:
    """Write the row of a file whose content was hashed; the same file again changes nothing.

    Parameters
    ----------
    path : Path
        As the system names it.
    before : Seen
        The file before it was read.
    sha256, priority, now
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
    # Before it has its row: where the store is away in between, or the process killed, all of it is done when
    # it is tried again.
    _rescue(database, name, sha256)
    _take_over(database, name, sha256)
    write_row = partial(
        receive, database, name, sha256, before.size, priority=priority, now=now, times=before[1:]
    )
    received = write_row()
    if received.state == State.DUPLICATE and _is_waited_for(original_of(database, sha256)):
        # It was rejected while its file was looked at, by who did not know of this one yet.
        _take_over(database, name, sha256)
        received = write_row()
    return received


def _take_over(database: Database, name: str, sha256: str) -> None:
    """Make a file that of its exposure, where that has lost its own: else it were a mere duplicate."""
    original = original_of(database, sha256)
    if original is None or original.path == name:
        return
    if _has_moved(original, name):
        if move(database, sha256, original.path, name):
            log.info("%s: it was %s before", name, original.path)
    elif _is_overwritten(database, original, name) and move(database, sha256, original.path, name, keep=True):
        log.info("%s: takes the place of %s, which holds another content now", name, original.path)


def takes_over(database: Database, original: Exposure, name: str) -> bool:
    """Return whether a file of an exposure's content would become its own, for that is lost.

    Parameters
    ----------
    name : str
        The file's path, as `nightflow.file_names.as_text` writes it.
    """
    return _has_moved(original, name) or _is_overwritten(database, original, name)


def _has_moved(original: Exposure, name: str) -> bool:
    return not _is_waited_for(original) and _is_gone(original.path, name)


def _is_waited_for(original: Exposure | None) -> bool:
    return original is not None and original.waits_for == CONTENT


def _is_overwritten(database: Database, original: Exposure, name: str) -> bool:
    if _is_waited_for(original):
        return True  # it is known, and its disk need not be asked
    if original.waits_for == PLACE:
        # Retired: its content comes back only where another one has taken its place.
        return has_others(database, name, original.sha256)
    return _holds(original, name) is False


def _rescue(database: Database, name: str, sha256: str) -> None:
    """Let exposures whose file was overwritten by this one say where their copies lie."""
    for copy in copies_of_displaced(database, name, sha256):
        if _holds(copy, name) and move(database, copy.sha256, name, copy.path):
            log.info("%s: takes the place of %s, which was overwritten", copy.path, name)


def _holds(row: Exposure, beside: str) -> bool | None:
    """Return whether the file of a row holds its content, None where that cannot be told now.

    It is read only where it has changed since it was received, and is as long as before.
    """
    status = _looked(row.path, beside, partial(_status, row.path), otherwise=None, seconds=LOOK_SECONDS)
    if status is None:
        return None
    if status.st_size != row.size:
        return False
    if seen(status).is_as(row.size, row.mtime_ns, row.ctime_ns, row.received_at):
        return True
    content = _looked(row.path, beside, partial(content_at, row.path), otherwise=None, seconds=READ_SECONDS)
    return None if content is None else content == row.sha256


def _status(path: str) -> os.stat_result | None:
    try:
        return as_named(path).stat()
    except OSError:
        return None


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
