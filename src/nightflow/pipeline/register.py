"""From paths to ledger rows, for `run` and `backfill`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from nightflow.errors import ConfigurationError
from nightflow.file_names import as_text
from nightflow.instruments.fits_file import content_hash
from nightflow.sensor.candidates import is_candidate
from nightflow.sensor.enter import enter
from nightflow.sensor.seen import seen
from nightflow.store.database import Database
from nightflow.store.ledger import Received

__all__ = ["find_files", "register"]


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
    before = seen(path.stat())
    sha256 = content_hash(Path(as_text(path)))
    return enter(database, path, sha256, before, priority=priority, now=now)
