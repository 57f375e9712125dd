"""Copies of the store: made while it runs, put back into an empty place."""

from __future__ import annotations

from pathlib import Path

from nightflow.errors import ConfigurationError
from nightflow.store import postgres_backup, sqlite_backup
from nightflow.store.database import Database

__all__ = ["backup", "restore"]


def backup(database: Database, file: Path, *, force: bool = False) -> int:
    """Write a consistent copy of the store to ``file``, which appears whole or not at all.

    Parameters
    ----------
    file : Path
        An SQLite file, or for Postgres an archive of ``pg_dump``.
    force : bool
        Replace a file that is there.

    Returns
    -------
    int
        Its size in bytes.

    Raises
    ------
    ConfigurationError
        The file is there already, or its folder is not; or ``pg_dump`` is missing or refused.
    RetryLater
        The store is locked or away, or the disk is full.
    """
    if file.exists() and not force:
        raise ConfigurationError(f"{file} is there already: name another file, or replace it with --force")
    if not file.parent.is_dir():
        raise ConfigurationError(f"{file}: there is no folder {file.parent}; make it, or name another one")
    if database.is_postgres:
        postgres_backup.dump(database, file)
    else:
        sqlite_backup.copy(database, file)
    return file.stat().st_size


def restore(url: str, file: Path, *, force: bool = False) -> Path | None:
    """Put a backup in the place of the store, and bring its tables up to date.

    Parameters
    ----------
    url : str
        Of the store.
    file : Path
        What `backup` wrote.
    force : bool
        Also where the store has rows: an SQLite file is kept under another name. A Postgres database that
        has rows is never replaced.

    Returns
    -------
    Path or None
        Where the old SQLite file is now; None where there was none with rows.

    Raises
    ------
    ConfigurationError
        The backup is damaged or none of nightflow's, or the store has rows.
    RetryLater
        The store is in use or away, or the disk is full.
    """
    if not file.is_file():
        raise ConfigurationError(f"{file} is not there: name a file that `nightflow store backup` wrote")
    with Database(url) as database:
        kept = None
        if database.is_postgres:
            postgres_backup.load(database, file)
        else:
            kept = sqlite_backup.put_back(database, file, force=force)
        database.upgrade()
    return kept
