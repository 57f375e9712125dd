"""Run the migrations that come with the package."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["current", "downgrade", "head", "is_known", "newest", "upgrade"]

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 4_107_260_011
"""Any number, as long as nobody else locks it."""
_PAGE_BYTES = 2048
"""A frame changes a page of the index for each of its stars: half of SQLite's usual size is half to write."""


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the schema up to ``revision`` in one transaction; concurrent callers wait for each other.

    A store that is up to date, as nearly every one is, costs one look and no import of alembic.
    """
    _set_up_file(engine)
    if revision == "head" and current(engine) == newest():
        return
    from alembic import command

    _run(engine, lambda config: command.upgrade(config, revision))


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the schema down to ``revision`` in one transaction."""
    from alembic import command

    _run(engine, lambda config: command.downgrade(config, revision))


def head() -> str | None:
    """Return the newest revision of this nightflow."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config()).get_current_head()


def is_known(revision: str) -> bool:
    """Return whether this nightflow has the migration that a store was brought up to."""
    from alembic.script import ScriptDirectory

    known = ScriptDirectory.from_config(_config()).walk_revisions()
    return revision in {script.revision for script in known}


def current(engine: Engine) -> str | None:
    """Return the revision that a store stands at; None where it has no tables."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def newest() -> str:
    """Return the same as `head` without alembic: the files of the migrations begin with their revisions."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _MIGRATIONS.as_posix())
    return config


def _run(engine: Engine, migration: Callable[[Config], None]) -> None:
    config = _config()
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config.attributes["connection"] = connection
        migration(config)


def _set_up_file(engine: Engine, attempts: int = 50) -> None:
    """Let readers and a writer work at the same time, in small pages (SQLite; both stay with the file).

    The size of the pages is that of a new file only. The change of mode needs the file alone and does not
    wait for it, so it is asked for again.
    """
    if engine.dialect.name != "sqlite":
        return
    for attempt in range(attempts):
        connection = engine.raw_connection()
        try:
            if connection.cursor().execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
                connection.cursor().execute(f"PRAGMA page_size={_PAGE_BYTES}")
                connection.cursor().execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == attempts - 1:
                raise OperationalError("PRAGMA journal_mode=WAL", None, error) from error
        finally:
            connection.close()
        time.sleep(0.02)
