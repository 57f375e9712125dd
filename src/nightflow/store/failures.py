"""What a complaint of the database means: try again later, or mend the settings.

Everything else (a violated constraint, a wrong statement) is a bug and passes through as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from nightflow.errors import ConfigurationError, NightflowError, RetryLater, StoreDamaged
from nightflow.shown_url import shown_url

__all__ = ["translated"]

_Meaning = tuple[type[NightflowError], str]

_DAMAGED = "damaged; `nightflow store restore` puts a backup back"

_SQLITE: dict[int, _Meaning] = {
    sqlite3.SQLITE_BUSY: (RetryLater, "locked by another process"),
    sqlite3.SQLITE_LOCKED: (RetryLater, "locked by another connection"),
    sqlite3.SQLITE_IOERR: (RetryLater, "input or output error; look at the disk and its mount"),
    sqlite3.SQLITE_NOMEM: (RetryLater, "out of memory"),
    sqlite3.SQLITE_PROTOCOL: (RetryLater, "locked by another process"),
    sqlite3.SQLITE_FULL: (RetryLater, "disk full; make room"),
    sqlite3.SQLITE_READONLY: (
        ConfigurationError,
        "read-only; give this user the right to write file and folder",
    ),
    sqlite3.SQLITE_PERM: (
        ConfigurationError,
        "no permission; give this user the right to write file and folder",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        ConfigurationError,
        "cannot be opened; does the folder exist, may this user write it?",
    ),
    sqlite3.SQLITE_NOTADB: (ConfigurationError, "not an SQLite database; name another file in store.url"),
    sqlite3.SQLITE_CORRUPT: (StoreDamaged, _DAMAGED),
}
"""Primary result codes of SQLite (https://sqlite.org/rescode.html)."""

_POSTGRES: dict[str, _Meaning] = {
    "08": (RetryLater, "connection lost"),
    "57": (RetryLater, "server stopping, or statement cancelled"),
    "40": (RetryLater, "in conflict with another transaction"),
    "55": (RetryLater, "locked by another process"),
    "53": (RetryLater, "out of disk space, memory or connections"),
    "58": (RetryLater, "input or output error on the server"),
    "25P03": (RetryLater, "connection ended by the server, which had waited for too long"),
    "XX": (RetryLater, "internal error of the server; see its log"),
    "XX001": (StoreDamaged, _DAMAGED),
    "XX002": (StoreDamaged, "an index is damaged; REINDEX DATABASE mends it"),
    "25006": (ConfigurationError, "read-only; connect to the primary server"),
    "28": (ConfigurationError, "user or password refused; see store.url"),
    "3D": (ConfigurationError, "there is no such database; make it with createdb"),
    "42501": (ConfigurationError, "no permission; grant it to this user"),
    "42P01": (ConfigurationError, "its tables are missing; make them with `nightflow init`"),
}
"""SQLSTATE classes and codes of Postgres; the longer prefix wins."""


@contextmanager
def translated(url: str, doing: str = "") -> Iterator[None]:
    """Turn what the database raises inside the block into an error that says what follows.

    Parameters
    ----------
    url : str
        Of the database, for the message; its password is not shown.
    doing : str
        What is done with it, where that concerns another file too; for the message.

    Raises
    ------
    RetryLater
        Locked, away, out of space, or in conflict with another transaction.
    StoreDamaged
        Part of it is damaged.
    ConfigurationError
        It cannot be opened, written or used as it is set up.
    """
    try:
        yield
    except PoolTimeout as error:
        raise RetryLater(f"store {shown_url(url)}: all connections are in use; does it answer?") from error
    except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
        original = error.orig if isinstance(error, DBAPIError) else error
        meaning = _meaning(original)
        if meaning is None:
            raise
        kind, what = meaning
        shown = shown_url(url)
        subject = f"store {shown}, {doing}" if doing else f"store {shown}"
        raise kind(f"{subject}: {what} ({_first_line(original)})") from error


def _meaning(error: BaseException | None) -> _Meaning | None:
    if isinstance(error, sqlite3.Error):
        return _sqlite_meaning(error)
    if not isinstance(error, psycopg.Error):
        return None
    if error.sqlstate is None:
        # Without an SQLSTATE the server did not answer at all.
        return (RetryLater, "away") if isinstance(error, psycopg.OperationalError) else None
    return _POSTGRES.get(error.sqlstate) or _POSTGRES.get(error.sqlstate[:2])


def _sqlite_meaning(error: sqlite3.Error) -> _Meaning | None:
    if "no such table" in str(error):
        return ConfigurationError, "its tables are missing; make them with `nightflow init`"
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else _SQLITE.get(code & 0xFF)


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
