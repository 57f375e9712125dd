"""The store and the folders: do they open, may they be written, is there room?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from alembic.migration import MigrationContext
from sqlalchemy import text

from nightflow.config import Settings
from nightflow.doctor.finding import Finding, fault, fine, warning
from nightflow.doctor.patience import answer_within
from nightflow.errors import NightflowError
from nightflow.folders import nearest_existing, not_writable
from nightflow.sensor.places import real_folders
from nightflow.sensor.silent import is_silent
from nightflow.sensor.watch import watch_limit
from nightflow.shown_url import shown_url
from nightflow.store.database import Database
from nightflow.store.failures import translated
from nightflow.store.migrate import head, is_known
from nightflow.store.overview import counts

__all__ = ["check_disk", "check_folders", "check_store"]

_LOCK_PATIENCE = 3.0
_DISK_PATIENCE = 10.0
"""Seconds that a disk may take for an answer."""
_COUNT_PATIENCE = 30.0
"""Seconds that counting all folders of all disks may take."""
_GIGABYTE = 1e9
_MOST_WATCHES = 0.8
"""Of those that the system allows a user: other programs need some, and each night makes folders."""
_FAULT_BELOW, _WARN_BELOW = 1.0, 10.0
"""Gigabytes free; a night of 4k frames with its products takes some tens."""


def check_store(settings: Settings) -> Iterator[Finding]:
    """Open the store, compare its migrations with the package's, take its write lock; nothing is changed."""
    url = settings.store_url
    shown = shown_url(url)
    file = _sqlite_file(url)
    if file is not None and not file.is_file():
        yield warning("store", f"{file} is not there yet", "any command makes it; `nightflow run` for one")
        return
    try:
        with Database(url, busy_seconds=_LOCK_PATIENCE) as database:
            yield _revision(database, shown)
            yield _writable(database)
    except NightflowError as error:
        yield fault("store", str(error), "mend [store] url in nightflow.toml, or the database")


def check_folders(settings: Settings) -> Iterator[Finding]:
    """Look at each folder of the settings: there, or can be made; and writable where nightflow writes."""
    paths = settings.paths
    written = {"masters": paths.masters, "products": paths.products, "catalogs": paths.catalogs}
    written["index_files"] = paths.index_files
    for name, path in written.items():
        key, folder = f"paths.{name}", settings.resolve(path)
        yield from _answered(key, folder, partial(_folder, key, folder))
    watched = [settings.resolve(path) for path in settings.watch.folders]
    for folder in watched:
        yield from _answered("watch.folders", folder, partial(_watched, folder))
    yield from _events(watched)


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Look at the room on each disk that products and masters go to."""
    seen: set[int] = set()
    for path in (settings.root, *map(settings.resolve, (settings.paths.products, settings.paths.masters))):
        yield from _answered("disk", path, partial(_disk, path, seen))


def _answered(key: str, path: Path, look: Callable[[], Finding | None]) -> Iterator[Finding]:
    """Give what is found, if anything; a fault where the disk fails, or does not answer."""
    try:
        found = answer_within(_DISK_PATIENCE, look)
    except OSError as error:
        why = error.strerror or f"no answer in {_DISK_PATIENCE:g} s"
        found = fault(key, f"{path}: {why}", "see to its disk, or to its server and its mount")
    if found is not None:
        yield found


def _disk(path: Path, seen: set[int]) -> Finding | None:
    """Look at the disk of a path, if it was not seen before."""
    existing = nearest_existing(path)
    device = existing.stat().st_dev
    if device in seen:
        return None
    seen.add(device)
    return _room(existing, shutil.disk_usage(existing).free / _GIGABYTE)


def _room(path: Path, free: float) -> Finding:
    message = f"{free:.1f} GB free on the disk of {path}"
    if free < _FAULT_BELOW:
        return fault("disk", message, "make room, or move paths.products to another disk")
    if free < _WARN_BELOW:
        return warning("disk", message, "make room before the night")
    return fine("disk", message)


def _sqlite_file(url: str) -> Path | None:
    prefix = "sqlite:///"
    path = url.removeprefix(prefix)
    return Path(path) if url.startswith(prefix) and path != ":memory:" else None


def _revision(database: Database, shown: str) -> Finding:
    newest = head()
    with translated(database.url), database.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == newest:
        number = sum(counts(database).values())
        return fine("store", f"{shown}: {number} exposures, tables at revision {newest}")
    if current is None:
        return warning("store", f"{shown}: no tables yet", "any command makes them")
    if not is_known(current):
        return fault(
            "store", f"{shown}: its tables (revision {current}) are of a newer nightflow", "update nightflow"
        )
    return warning(
        "store", f"{shown}: tables at revision {current}, {newest} is due", "the next command brings them up"
    )


def _writable(database: Database) -> Finding:
    # Takes the lock and the right to write, and changes no row.
    with database.write() as session:
        session.connection().execute(text("UPDATE alembic_version SET version_num = version_num WHERE 1 = 0"))
    return fine("store", "can be written")


def _folder(key: str, path: Path) -> Finding:
    if why := not_writable(path):
        return fault(key, why, f"give this user the right, or name another folder as {key} in nightflow.toml")
    return fine(key, str(path) if path.exists() else f"{path} (made when needed)")


def _events(folders: list[Path]) -> Iterator[Finding]:
    """Look whether the system watches as many folders as there are; network disks are listed anyway."""
    limit = watch_limit()
    if limit is None:
        return
    try:
        number = answer_within(_COUNT_PATIENCE, partial(_count, folders))
    except TimeoutError:
        named = ", ".join(map(str, folders))
        yield warning(
            "watch.events",
            f"{named}: not all folders counted in {_COUNT_PATIENCE:g} s, the system allows {limit}",
            "see that their disk answers, or name in watch.folders only where frames land",
        )
        return
    message = f"{number} folders to watch, the system allows {limit}"
    if number > _MOST_WATCHES * limit:
        yield warning("watch.events", message, "raise fs.inotify.max_user_watches (sysctl)")
    else:
        yield fine("watch.events", message)


def _count(folders: list[Path]) -> int:
    """Return how many folders there are where these are that the system is asked to watch."""
    return sum(1 for root in real_folders(folders) if not is_silent(root) for _ in os.walk(root))


def _watched(path: Path) -> Finding:
    if not path.is_dir():
        return warning(
            "watch.folders", f"{path} is not there", f"make it (mkdir -p {path}), or mount its disk"
        )
    if not os.access(path, os.R_OK | os.X_OK):
        return fault("watch.folders", f"{path} cannot be read", "give this user the right to read it")
    return fine("watch.folders", str(path))
