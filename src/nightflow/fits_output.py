"""What every FITS file that nightflow writes needs: it appears whole or not at all, and its text is ASCII."""

from __future__ import annotations

import math
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from astropy.io import fits

__all__ = ["card", "is_temporary", "printable", "remove_leftovers", "replacing", "temporary_beside"]

_LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.tmp")
_LEFT_AFTER = timedelta(hours=1)
"""Without a change, after which a temporary file is nobody's who still writes."""


def printable(text: str) -> str:
    """Return ``text`` with what FITS cannot hold (control characters, other than ASCII) as question marks."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def card(keyword: str, value: Any, comment: str = "") -> fits.Card:
    """Return a card that FITS can hold; a comment that does not fit behind its value is cut.

    It is rendered once, so that a faulty one shows here and not on writing.

    Raises
    ------
    ValueError
        FITS cannot hold such a value (NaN, a keyword of another alphabet).
    """
    with warnings.catch_warnings():
        # That a comment is cut is no news to anybody.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        made = fits.Card(keyword, printable(value) if isinstance(value, str) else value, printable(comment))
        return fits.Card.fromstring(str(made))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name in the folder of ``path``; rename it to ``path`` when the block ends well.

    The folder is made if it is absent. The content is flushed to the disk before the rename. If the block
    raises, the temporary file is removed and ``path`` stays as it was.

    Raises
    ------
    OSError
        The folder cannot be made or written to, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Return a new name in the same folder, for what is to take the place of ``path`` when it is whole."""
    return path.with_name(f".{uuid.uuid4().hex}.tmp")


def is_temporary(path: Path) -> bool:
    """Return whether a name is one of `temporary_beside`."""
    return bool(_LEFTOVER.fullmatch(path.name))


def remove_leftovers(folder: Path, now: datetime) -> int:
    """Remove temporary files and folders below a folder whose writers were killed; return how many.

    Parameters
    ----------
    folder : Path
        Of products or masters; it may be absent.
    now : datetime
        Aware. What was changed within the last hour stays: somebody may be writing it.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    last = (now - _LEFT_AFTER).timestamp()
    found = [path for path in folder.rglob(".*.tmp") if is_temporary(path) and not path.is_symlink()]
    left = [path for path in found if _last_change(path) < last]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return len(left)


def _last_change(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # its writer has just given it its name
        return math.inf


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
