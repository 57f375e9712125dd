"""Copies of an SQLite store: taken while others write, checked, and put back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from nightflow.errors import ConfigurationError, RetryLater
from nightflow.fits_output import replacing
from nightflow.store.contents import has_rows
from nightflow.store.database import Database
from nightflow.store.failures import translated
from nightflow.store.migrate import is_known

__all__ = ["copy", "put_back"]

_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_PATIENCE = 5.0
"""Seconds to wait until nobody else has the store open."""


def copy(database: Database, file: Path) -> None:
    """Write the store as it is at one moment to ``file``; readers and writers go on meanwhile.

    Raises
    ------
    ConfigurationError
        The file cannot be written, or is the store itself.
    RetryLater
        The store is locked, or the disk is full.
    """
    _refuse_itself(_path(database), file)
    try:
        with (
            translated(database.url, f"copied to {file}"),
            replacing(file) as temporary,
            closing(database.engine.raw_connection()) as connection,
        ):
            source: Any = connection.driver_connection
            _copy(source, temporary)
    except OSError as error:
        raise RetryLater(f"{file} cannot be written: {error}") from error


def put_back(database: Database, file: Path, *, force: bool) -> Path | None:
    """Replace the store by a copy of ``file``.

    Returns
    -------
    Path or None
        Where the old store is now, if it had rows.

    Raises
    ------
    ConfigurationError
        The backup is damaged or none of nightflow's, or the store has rows and is not to be replaced.
    RetryLater
        The store is in use, or the disk is full.
    """
    store = _path(database)
    _refuse_itself(store, file)
    try:
        with translated(database.url, f"restored from {file}"):
            worth_keeping = _is_worth_keeping(database, store)
            if worth_keeping and not force:
                raise ConfigurationError(
                    f"store {store} has rows: name another file in store.url, or replace it with --force,"
                    " which keeps the old one under another name"
                )
            with replacing(store) as temporary:
                _take(file, temporary)
                return _clear(store, worth_keeping)
    except OSError as error:
        raise RetryLater(f"store {store} cannot be replaced by {file}: {error}") from error


def _path(database: Database) -> Path:
    path = database.engine.url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        raise ConfigurationError(
            f"store.url = {database.shown}: no plain file; write it as sqlite:////absolute/path.sqlite"
        )
    return Path(path)


def _refuse_itself(store: Path, file: Path) -> None:
    if store.resolve() == file.resolve():
        raise ConfigurationError(f"{file} is the store itself: name another file")


def _copy(source: sqlite3.Connection, temporary: Path) -> None:
    # A reader's transaction: where the store is locked this says so, while the copy would ask without end.
    source.execute("BEGIN")
    try:
        source.execute("SELECT count(*) FROM sqlite_master")
        with closing(sqlite3.connect(temporary)) as target:
            # All pages in one step: in several it would begin again whenever a frame is appended.
            source.backup(target)
    finally:
        source.execute("ROLLBACK")


def _take(file: Path, temporary: Path) -> None:
    """Copy a backup and check the copy."""
    # Without its log beside it a file is read as it is, also where its folder may not be written.
    mode = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
    try:
        address = f"{file.resolve().as_uri()}?{mode}"
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as source:
            _copy(source, temporary)
        with closing(sqlite3.connect(temporary)) as taken:
            fault = _fault(taken)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        fault = str(error)
    if fault:
        raise ConfigurationError(f"{file} cannot be restored: {fault}; name another backup")


def _fault(taken: sqlite3.Connection) -> str:
    """Return what is wrong with a copy of a backup, "" where nothing is."""
    (whole,) = taken.execute("PRAGMA integrity_check(1)").fetchone()
    if whole != "ok":
        return f"it is damaged ({whole})"
    tables = {name for (name,) in taken.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"alembic_version", "exposure", "frame", "reduction", "measurement"} <= tables:
        return "it is no store of nightflow"
    (revision,) = taken.execute("SELECT version_num FROM alembic_version").fetchone() or ("none",)
    return "" if is_known(revision) else f"a newer nightflow made it (revision {revision})"


def _is_worth_keeping(database: Database, store: Path) -> bool:
    """Return whether the store has rows; one that is damaged may have some."""
    if not store.is_file():
        return False
    try:
        with database.engine.connect() as connection:
            return has_rows(connection)
    except DBAPIError as error:
        if not _is_damage(error.orig):
            raise
        return True
    finally:
        database.close()


def _is_damage(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _clear(store: Path, keep: bool) -> Path | None:
    """Take the old store and its log out of the way, so that the log is not applied to the new one."""
    if store.is_file():
        _have_alone(store)
    kept = _free_name(store) if keep else None
    for ending in ("", "-wal"):
        part = Path(f"{store}{ending}")
        if kept is not None and part.exists():
            part.rename(f"{kept}{ending}")
        part.unlink(missing_ok=True)
    Path(f"{store}-shm").unlink(missing_ok=True)
    return kept


def _have_alone(store: Path) -> None:
    """Write the log into the file, which works only where no other process has it open."""
    with closing(sqlite3.connect(store, timeout=_PATIENCE)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise RetryLater(f"store {store} is in use: stop `nightflow watch` and `serve` first") from error
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise


def _free_name(store: Path) -> Path:
    name = store.with_name(f"{store.name}.before-restore")
    number = 1
    while name.exists():
        number += 1
        name = store.with_name(f"{store.name}.before-restore-{number}")
    return name
