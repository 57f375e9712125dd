"""What every FITS file that nightflow writes needs: it appears whole or not at all, and its text is ASCII."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["printable", "replacing"]


def printable(text: str) -> str:
    """Return ``text`` with what FITS cannot hold (control characters, other than ASCII) as question marks."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)


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
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
