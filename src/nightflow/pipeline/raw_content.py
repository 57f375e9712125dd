"""That what is read of a raw file is what the ledger received: its content, wherever that lies now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightflow.errors import ContentGone, FrameRejected, NightflowError, RetryLater
from nightflow.file_names import as_named
from nightflow.instruments.fits_file import content_at, content_hash
from nightflow.store.copies import move, paths_of
from nightflow.store.database import Database
from nightflow.store.models import Exposure

__all__ = ["RawContent", "check_content", "find_content", "is_somewhere"]

_Stamp = tuple[int, int, int]
"""Size, time of the last change and inode."""


@dataclass(frozen=True, kw_only=True)
class RawContent:
    """A file whose content was compared to that of the ledger.

    Attributes
    ----------
    path : Path
        As the ledger writes it, see `nightflow.file_names`.
    sha256 : str
    stamp : tuple of int or None
        What the system said of it before it was hashed.
    """

    path: Path
    sha256: str
    stamp: _Stamp | None

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Refuse what the block reads of the file, also its error, where the file is another one by the end.

        Raises
        ------
        ContentGone
            It was replaced.
        RetryLater
            It cannot be read any more.
        """
        try:
            yield
        except NightflowError:
            self._check_again()
            raise
        self._check_again()

    def _check_again(self) -> None:
        if _stamp(self.path) != self.stamp:  # else it need not be hashed again, which takes long
            check_content(self.path, self.sha256)


def check_content(path: Path, sha256: str) -> RawContent:
    """Refuse a file that is not the one the ledger knows under this path any more.

    Raises
    ------
    ContentGone
        Its content is another one now.
    RetryLater
        It cannot be read now.
    """
    stamp = _stamp(path)
    if content_hash(path) != sha256:
        raise ContentGone(
            f"{path}: the file is another one now; its new content is an exposure of its own once received, "
            "and this one is taken up again when a file of its content is seen"
        )
    return RawContent(path=path, sha256=sha256, stamp=stamp)


def find_content(database: Database, exposure: Exposure) -> RawContent:
    """Return the file that holds an exposure's content: its own, else a copy, which takes its place.

    Raises
    ------
    ContentGone
        Its own file holds another content now, and no copy is left.
    RetryLater
        It cannot be read now, and no copy is left; or the store is away.
    """
    try:
        return check_content(Path(exposure.path), exposure.sha256)
    except (FrameRejected, RetryLater):
        own, *copies = paths_of(database, exposure.sha256)
        for path in (own, *copies):
            if content_at(path) == exposure.sha256:
                move(database, exposure.sha256, own, path)
                return check_content(Path(path), exposure.sha256)
        raise


def is_somewhere(database: Database, sha256: str) -> bool:
    """Return whether a content can be read now, at any path where it was received."""
    return any(content_at(path) == sha256 for path in paths_of(database, sha256))


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = as_named(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
