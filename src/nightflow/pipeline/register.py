"""From paths to ledger rows, for `run` and `backfill`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from nightflow.errors import ConfigurationError, RetryLater
from nightflow.file_names import as_text
from nightflow.instruments.fits_file import content_hash
from nightflow.instruments.fits_source import is_absent, os_errors
from nightflow.sensor.candidates import is_candidate
from nightflow.sensor.enter import enter, takes_over
from nightflow.sensor.seen import seen
from nightflow.store.copies import original_of
from nightflow.store.database import Database
from nightflow.store.ledger import Received

__all__ = ["LookedUp", "find_files", "look_up", "register", "register_all"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class LookedUp(NamedTuple):
    """What the ledger knows of files that are not received.

    Attributes
    ----------
    exposures : set of int
        Those whose file one of them is, or would be; a mere duplicate is no exposure's.
    unknown : list of str
        Paths of files whose content it does not know, one of each content.
    """

    exposures: set[int]
    unknown: list[str]


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Return the raw files under the paths, sorted; a file that is named is taken whatever it is called.

    Raises
    ------
    ConfigurationError
        A path does not exist.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"{path}: no such file or folder")
        found.update(dict.fromkeys(_files_of(path.resolve())))
    return list(found)


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and is_candidate(file, path, ()):
            yield file


def register(database: Database, path: Path, *, priority: int, now: datetime) -> Received:
    """Enter a file into the ledger; one that is known changes nothing.

    Raises
    ------
    RetryLater
        The file cannot be read now.
    """
    with os_errors(path):
        before = seen(path.stat())
    sha256 = content_hash(Path(as_text(path)))
    return enter(database, path, sha256, before, priority=priority, now=now)


def register_all(database: Database, paths: Iterable[Path], *, priority: int) -> list[int]:
    """Enter files into the ledger; return their exposures, each once.

    One that is gone by its turn is told and left out: many take minutes, in which people file frames away.

    Raises
    ------
    RetryLater
        A file is there and cannot be read now.
    """

    def exposure_of(path: Path) -> int:
        return register(database, path, priority=priority, now=datetime.now(UTC)).exposure_id

    return list(dict.fromkeys(_of_present(paths, exposure_of)))


def look_up(database: Database, paths: Iterable[Path]) -> LookedUp:
    """Return what `register_all` would find of files; the ledger stays as it is.

    Raises
    ------
    RetryLater
        A file is there and cannot be read now.
    """
    exposures: set[int] = set()
    unknown: dict[str, str] = {}
    for name, sha256 in _of_present(paths, _name_and_content):
        original = original_of(database, sha256)
        if original is None:
            unknown.setdefault(sha256, name)
        elif original.path == name or takes_over(database, original, name):
            exposures.add(original.id or 0)
    return LookedUp(exposures, list(unknown.values()))


def _name_and_content(path: Path) -> tuple[str, str]:
    name = as_text(path)
    return name, content_hash(Path(name))


def _of_present(paths: Iterable[Path], look: Callable[[Path], _T]) -> Iterator[_T]:
    """Yield what is found of files, but of those that went away since they were listed."""
    for path in paths:
        try:
            found = look(path)
        except RetryLater as error:
            if not is_absent(error) or not path.parent.is_dir():  # a disk that went away is no file that did
                raise
            log.warning(
                "%s: gone since it was listed, left out; where it was moved, name its new folder", path
            )
        else:
            yield found
