"""The connection to the store: an SQLite file by default, Postgres by URL.

Readers use `Database.session`, writers `Database.write`. What the database complains of comes out as an error
that says what follows (`nightflow.store.failures`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import StaticPool
from sqlmodel import Session

from nightflow.errors import ConfigurationError
from nightflow.shown_url import shown_url
from nightflow.store import migrate
from nightflow.store.failures import translated

__all__ = ["Database", "serialise"]

_WRITES = "nightflow_writes"
_ONE_VIEW: dict[str, Any] = {"isolation_level": "REPEATABLE READ"}
"""By itself Postgres shows each statement of a transaction what was committed before it; SQLite does not."""
_CACHE_KIB = 65_536
_LOG_PAGES = 32_000
"""Of 2 KiB, until SQLite's log is written into the file."""


class Database:
    """The store behind a URL.

    Parameters
    ----------
    url : str
        SQLAlchemy URL: ``sqlite:////absolute/path.sqlite`` or ``postgresql+psycopg://user@host/database``.
    busy_seconds : float
        How long to wait for a lock that another process holds, before `RetryLater`.

    Attributes
    ----------
    shown : str
        The URL for messages, without its password.

    Raises
    ------
    ConfigurationError
        The URL is not one, or names a database that is not supported.
    """

    def __init__(self, url: str, *, busy_seconds: float = 30.0) -> None:
        self.url = url
        self.shown = shown_url(url)
        self._url = _parse(url)
        self.is_postgres = self._url.get_backend_name() == "postgresql"
        self.engine = (
            _postgres(self._url, busy_seconds) if self.is_postgres else _sqlite(self._url, busy_seconds)
        )
        event.listen(self.engine, "connect", _remember_process)
        event.listen(self.engine, "checkout", _refuse_other_process)
        self._writer = self.engine.execution_options(**{_WRITES: True})
        self._reader = self.engine.execution_options(**(_ONE_VIEW if self.is_postgres else {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def upgrade(self, revision: str = "head") -> None:
        """Create the tables or bring them up to date; harmless when they are, and by many processes at once.

        Raises
        ------
        RetryLater
            The database is locked or away.
        ConfigurationError
            The database cannot be opened or written.
        """
        self._prepare_file()
        with translated(self.url):
            migrate.upgrade(self._writer, revision)

    def downgrade(self, revision: str = "base") -> None:
        """Undo migrations down to ``revision``; the tables above it and their rows go."""
        with translated(self.url):
            migrate.downgrade(self._writer, revision)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Give a session to read with: one consistent view, nothing is written.

        Raises
        ------
        RetryLater
            The database is locked or away.
        ConfigurationError
            The database cannot be opened or has no tables.
        """
        with translated(self.url), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session to write with: all is committed at the end, or nothing where an error comes out.

        On SQLite there is one writer at a time, from the beginning of the block (``BEGIN IMMEDIATE``).

        Raises
        ------
        RetryLater
            The database is locked, away, or out of disk space.
        ConfigurationError
            The database cannot be opened or written, or has no tables.
        """
        with translated(self.url), Session(self._writer, expire_on_commit=False) as session, session.begin():
            session.connection()  # a session is lazy: this takes the lock
            yield session

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def check_there(self) -> None:
        """Refuse an SQLite file that is not there, which a connection would make.

        Raises
        ------
        ConfigurationError
            There is no such file, or nobody may tell.
        """
        file = self._file()
        try:
            if file is None or file.is_file():
                return
        except OSError as error:  # its folder may not be searched
            raise ConfigurationError(f"store {self.shown}: cannot be looked at: {error}") from error
        raise ConfigurationError(
            f"store {self.shown}: there is no such database; name one that is there; `nightflow init`, `run` "
            "and `watch` make a new one"
        )

    def check_tables(self) -> None:
        """Refuse a store that is not there, or whose tables are not those of this nightflow; change nothing.

        Raises
        ------
        RetryLater
            The database is locked or away.
        ConfigurationError
            There is no such database, it cannot be opened, or its tables are older, newer or missing.
        """
        self.check_there()
        with translated(self.url):
            found = migrate.current(self._reader)
        if found != migrate.newest():
            raise ConfigurationError(f"store {self.shown}: {_due(found)}")

    def _file(self) -> Path | None:
        """Return the file of an SQLite store; None where it is none that has a place."""
        path = self._url.database
        if self.is_postgres or not path or path == ":memory:" or path.startswith("file:"):
            return None
        return Path(path)

    def _prepare_file(self) -> None:
        file = self._file()
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"store.url = {self.shown}: cannot make its folder: {error}") from error


def serialise(session: Session, name: str) -> None:
    """Let no other process pass here with the same ``name`` until this transaction ends.

    On Postgres an advisory lock; on SQLite a write transaction is alone anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name}
        )


def _due(revision: str | None) -> str:
    """Return what is to be done about tables that are not at the newest revision."""
    if revision is None:
        return "it has no tables; `nightflow init`, `run` and `watch` make them"
    if not migrate.is_known(revision):
        return f"its tables (revision {revision}) are of a newer nightflow; update this one"
    return (
        f"its tables are at revision {revision}, {migrate.newest()} is due; start `nightflow watch` anew, "
        "which brings them up"
    )


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        # What it complains of holds what was typed, so that nothing of it is told on.
        raise ConfigurationError(
            f"store.url = {shown_url(url)!r}: not a database URL, "
            "such as postgresql+psycopg://user:password@host:5432/database; "
            "escape :, / and @ in a password as %3A, %2F and %40"
        ) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigurationError(f"store.url = {shown_url(url)!r}: use sqlite:/// or postgresql+psycopg://")
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _sqlite(url: URL, busy_seconds: float) -> Engine:
    arguments: dict[str, Any] = {"connect_args": {"timeout": busy_seconds, "check_same_thread": False}}
    if url.database in (None, "", ":memory:"):
        arguments["poolclass"] = StaticPool
    engine = create_engine(url, **arguments)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgres(url: URL, busy_seconds: float) -> Engine:
    # Postgres thinks of disks that turn: it would read a whole table for two hundred rows by their keys.
    options = f"-c lock_timeout={int(busy_seconds * 1000)} -c timezone=UTC -c random_page_cost=1.1"
    return create_engine(
        url,
        pool_pre_ping=True,
        connect_args={"options": options, "connect_timeout": max(2, int(busy_seconds))},
    )


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions of its own: _begin_sqlite does.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    # A frame touches a page of the index for each of its stars: with little memory each is read again, and
    # with a short log the frame that fills it waits until all of them are written a second time.
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once where another has written in between,
    # whatever the timeout; one that takes the lock first waits its turn.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _remember_process(_connection: Any, record: Any) -> None:
    record.info["process"] = os.getpid()


def _refuse_other_process(_connection: Any, record: Any, proxy: Any) -> None:
    # A forked worker inherits open connections; used by two processes they corrupt each other.
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise exc.DisconnectionError("the connection belongs to another process")
