"""One live service a ledger.

Two services on one ledger would free each other's leases at the start. On SQLite the lock is a file beside
the store, on Postgres an advisory lock; the system frees both when their holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url

from nightflow.errors import ConfigurationError
from nightflow.store.database import Database

__all__ = ["only_instance"]

LOCK_NAME = "nightflow watch"


@contextmanager
def only_instance(database: Database) -> Iterator[None]:
    """Hold the lock of a ledger's live service.

    Raises
    ------
    ConfigurationError
        Another service holds it.
    """
    hold = _advisory_lock(database) if database.is_postgres else _file_lock(_lock_file(database))
    with hold:
        yield


def _lock_file(database: Database) -> Path:
    path = make_url(database.url).database
    if not path or path == ":memory:":
        raise ConfigurationError(f"store.url = {database.shown}: a live service needs a store that lasts")
    return Path(path + ".watch.lock")


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise _taken(f"{path}, process {file.read().strip() or 'unknown'}") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def _advisory_lock(database: Database) -> Iterator[None]:
    # The lock lives as long as its connection, which is kept for it alone.
    connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with connection:
        question = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        if not connection.execute(question, {"name": LOCK_NAME}).scalar():
            raise _taken("an advisory lock of the database")
        try:
            yield
        finally:
            connection.execute(
                text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), {"name": LOCK_NAME}
            )


def _taken(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"another `nightflow watch` works on this ledger ({where}); stop it, or give this one its own store"
    )
