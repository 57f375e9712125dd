"""That what is read of a raw file is what the ledger received: its content, wherever that lies now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nightflow.errors import ContentGone, FrameRejected, NightflowError, RetryLater
from nightflow.file_names import as_named
from nightflow.instruments.fits_file import content_at, content_hash
from nightflow.store.copies import move, paths_of
from nightflow.store.database import Database
from nightflow.store.masters import CalibrationFrame
from nightflow.store.places import Place, places_of

__all__ = ["RawContent", "check_content", "find_content", "is_somewhere", "out_of_reach"]

_Stamp = tuple[int, int, int]
"""Size, time of the last change and inode."""

_overwritten: set[str] = set()
"""Paths where this process read another content than was received there; the ledger may know of none."""


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
        _overwritten.add(str(path))
        raise ContentGone(
            f"{path}: the file is another one now; its new content is an exposure of its own once received, "
            "and this one is taken up again when a file of its content is seen"
        )
    return RawContent(path=path, sha256=sha256, stamp=stamp)


def find_content(database: Database, path: str, sha256: str) -> RawContent:
    """Return the file that holds an exposure's content: its own, else a copy, which takes its place.

    Parameters
    ----------
    database : Database
    path, sha256 : str
        As the ledger has, or had, them of the exposure.

    Raises
    ------
    ContentGone
        Its own file holds another content now, and no copy is left.
    RetryLater
        It cannot be read now, and no copy is left; or the store is away.
    """
    try:
        return check_content(Path(path), sha256)
    except (FrameRejected, RetryLater):
        own, *copies = paths_of(database, sha256)
        for place in (own, *copies):
            if content_at(place) == sha256:
                if place != own:
                    move(database, sha256, own, place)
                return check_content(Path(place), sha256)
        raise


def is_somewhere(database: Database, sha256: str) -> bool:
    """Return whether a content can be read now, at any path where it was received."""
    return any(content_at(path) == sha256 for path in paths_of(database, sha256))


def out_of_reach(database: Database, inputs: Sequence[CalibrationFrame]) -> list[CalibrationFrame]:
    """Return those of some raw frames whose content lies nowhere now, neither where it was nor as a copy.

    The size tells, as far as it can: a file is read only where another content of its size was received or
    found at its path, and once as long as it does not change. Whoever reads the frames has them compared all
    the same, see `find_content`.
    """
    if not inputs:
        return []
    places = places_of(database, {one.sha256 for one in inputs})
    return [one for one in inputs if not any(_lies_at(place, one.sha256) for place in places[one.sha256])]


def _lies_at(place: Place, sha256: str) -> bool:
    stamp = _stamp(Path(place.path))
    if stamp is None or stamp[0] != place.size:
        return False
    if not place.shared and place.path not in _overwritten:
        return True
    try:
        return _hash_of(place.path, stamp) == sha256
    except (FrameRejected, RetryLater):
        return False


@lru_cache(maxsize=4096)
def _hash_of(path: str, stamp: _Stamp) -> str:
    """Return the hash of a file's content; ``stamp`` is what it is known again by."""
    return content_hash(Path(path))


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = as_named(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
