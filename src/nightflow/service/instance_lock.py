"""One live service a ledger.

Two services on one ledger would free each other's leases at the start. On SQLite the lock is a file beside
the store, on Postgres an advisory lock; the system frees both when their holder dies, however it dies.

A lock can also be lost while its holder lives: a restart of Postgres frees it silently, and so does a file
that somebody deletes. So the holder looks after it from time to time.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from nightflow.errors import ConfigurationError, RetryLater
from nightflow.store.database import Database
from nightflow.store.failures import translated

__all__ = ["InstanceLock", "InstanceTaken", "lock_holder", "only_instance"]

log = logging.getLogger(__name__)

LOCK_NAME = "nightflow watch"

_TRY = "SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"
_HOLDER = """
SELECT activity.pid, activity.backend_start
FROM pg_locks AS held JOIN pg_stat_activity AS activity ON activity.pid = held.pid
WHERE held.locktype = 'advisory' AND held.granted
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((held.classid::bigint << 32) | held.objid::bigint) = hashtextextended(:name, 0)
"""
"""Postgres keeps the two halves of the key apart."""


class InstanceTaken(ConfigurationError):  # noqa: N818  # named by what follows, as its base
    """Another live service works on this ledger."""


class InstanceLock(Protocol):
    """The lock of a ledger's live service, held."""

    def keep(self) -> None:
        """Look whether it is held still, and take it again where it was lost.

        Raises
        ------
        InstanceTaken
            Another service has it now: this one must stop.
        RetryLater
            The store is away, so that nobody can tell.
        """


@contextmanager
def only_instance(database: Database) -> Iterator[InstanceLock]:
    """Hold the lock of a ledger's live service.

    Raises
    ------
    InstanceTaken
        Another service holds it.
    """
    lock = _AdvisoryLock(database) if database.is_postgres else _FileLock(_lock_file(database))
    lock.take()
    try:
        yield lock
    finally:
        lock.free()


def lock_holder(database: Database) -> str | None:
    """Return who holds the lock of a ledger's live service, for people; None where no service runs."""
    if database.is_postgres:
        with translated(database.url), database.engine.connect() as connection:
            holder = _holder(connection)
        return f"session {holder[0]} of the database" if holder else None
    try:
        path = _lock_file(database)
        with path.open() as file:
            # Shared, and for an instant: services wait longer than that for each other.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"process {path.read_text().strip() or 'unknown'}"
    except (OSError, ConfigurationError):
        return None  # no service has ever run here, or can
    return None


class _FileLock:
    """A lock on a file beside the store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def take(self) -> None:
        file = self._path.open("a+")
        if not _locked(file):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise _taken(f"{self._path}, process {holder}")
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def keep(self) -> None:
        try:
            if self._is_there():
                return
            old = self._file
            self.take()
        except OSError as error:
            raise RetryLater(f"{self._path}: the service's lock cannot be looked at: {error}") from error
        log.warning("%s: the service's lock was deleted or replaced; taken again", self._path)
        if old is not None:
            old.close()

    def free(self) -> None:
        if self._file is not None:
            self._file.close()

    def _is_there(self) -> bool:
        if self._file is None or not self._path.exists():
            return False
        return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())


def _locked(file: IO[str]) -> bool:
    """Take the lock; somebody who only looks who has it holds it for an instant."""
    for _ in range(5):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


class _AdvisoryLock:
    """A lock of Postgres; it lives as long as its connection, which is kept for it alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._session: tuple[Any, ...] = ()

    def take(self) -> None:
        with translated(self._database.url):
            connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            # Not of the pool: closed, it is gone and the lock with it.
            connection.detach()
            got = connection.execute(text(_TRY), {"name": LOCK_NAME}).scalar()
            holder = _holder(connection)
            if not got:
                connection.close()
        if got:
            self._connection, self._session = connection, holder
        elif holder and holder == self._session:
            raise RetryLater("the server has not noticed yet that this service's old connection is gone")
        else:
            number = holder[0] if holder else "unknown"
            raise _taken(f"an advisory lock of the database, its process {number}")

    def keep(self) -> None:
        if self._is_held():
            return
        self.free()
        self.take()
        log.warning("the database was restarted, or cut off this service's connection: lock taken again")

    def free(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):  # lost already, and the lock with it
                connection.close()

    def _is_held(self) -> bool:
        if self._connection is None:
            return False
        try:
            return _holder(self._connection) == self._session
        except DBAPIError:
            return False


def _holder(connection: Connection) -> tuple[Any, ...]:
    """Return process and start of the session that holds the lock; () where nobody does."""
    row = connection.execute(text(_HOLDER), {"name": LOCK_NAME}).first()
    return () if row is None else tuple(row)


def _lock_file(database: Database) -> Path:
    path = make_url(database.url).database
    if not path or path == ":memory:":
        raise ConfigurationError(f"store.url = {database.shown}: a live service needs a store that lasts")
    return Path(path + ".watch.lock")


def _taken(where: str) -> InstanceTaken:
    return InstanceTaken(
        f"another `nightflow watch` works on this ledger ({where}); stop it, or give this one its own store"
    )
