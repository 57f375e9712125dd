"""Copies of a Postgres store, by the programs that come with Postgres."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo
from sqlalchemy import text
from sqlmodel import SQLModel

from nightflow.errors import ConfigurationError, RetryLater
from nightflow.fits_output import replacing
from nightflow.store.contents import has_rows
from nightflow.store.database import Database
from nightflow.store.migrate import is_known
from nightflow.store.parents import unguard

__all__ = ["dump", "load"]

_OURS = re.compile(r" TABLE \S+ (alembic_version|exposure|frame|reduction|measurement) ")
_N_OURS = 5
_REVISION = re.compile(r"^COPY \S*alembic_version .*\n(\S+)$", re.MULTILINE)
_ALL_OR_NOTHING = ("--exit-on-error", "--single-transaction")


def dump(database: Database, file: Path) -> None:
    """Write the database as it is at one moment to an archive in the custom format of ``pg_dump``.

    Raises
    ------
    ConfigurationError
        ``pg_dump`` is not there, or gave up.
    RetryLater
        The file cannot be written.
    """
    try:
        with replacing(file) as temporary:
            _run(database, "pg_dump", "--format=custom", f"--file={temporary.resolve()}")
    except OSError as error:
        raise RetryLater(f"{file} cannot be written: {error}") from error


def load(database: Database, file: Path) -> None:
    """Fill an empty database from an archive; tables without rows give way.

    Raises
    ------
    ConfigurationError
        The database has rows, the archive is none of a store, or ``pg_restore`` is not there or gave up.
    RetryLater
        The database is locked or away.
    """
    _check(file)
    with database.write() as session:
        connection = session.connection()
        if has_rows(connection):
            shown = database.shown
            raise ConfigurationError(
                f"store {shown} has rows: make a new database with createdb and name it in store.url"
            )
        SQLModel.metadata.drop_all(connection)
        unguard(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    _run(database, "pg_restore", *_ALL_OR_NOTHING, "--no-owner", "--no-acl", str(file.resolve()))


def _check(file: Path) -> None:
    """Read the archive's list of contents and its revision before anything is touched."""
    command = [_program("pg_restore"), "--list", str(file.resolve())]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    fault = _last_line(listed.stderr) if listed.returncode else ""
    if not fault and len(set(_OURS.findall(listed.stdout))) < _N_OURS:
        fault = "it is no store of nightflow"
    if fault:
        raise ConfigurationError(f"{file} cannot be restored: {fault}; name another backup")
    command = [
        _program("pg_restore"),
        "--data-only",
        "--table=alembic_version",
        "--file=-",
        str(file.resolve()),
    ]
    found = _REVISION.search(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    revision = found[1] if found else "unknown"
    if not is_known(revision):
        raise ConfigurationError(f"{file}: a newer nightflow made it (revision {revision}); install that one")


def _run(database: Database, name: str, *options: str) -> None:
    """Run a program on the database; its password goes by the environment, which other users cannot read."""
    with database.session() as session:
        driver: Any = session.connection().connection.driver_connection
        parameters, password = driver.info.get_parameters(), driver.info.password
    # Complaints in English: one of them is looked for below.
    environment = os.environ | {"LC_ALL": "C"} | ({"PGPASSWORD": password} if password else {})
    command = [_program(name), "--no-password", f"--dbname={make_conninfo(**parameters)}", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise ConfigurationError(
            f"store {database.shown}: {name}: {_last_line(done.stderr)}{_mend(done.stderr)}"
        )


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigurationError(f"{name} is not on the PATH: install Debian's postgresql-client")
    return found


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else "no reason given"


def _mend(output: str) -> str:
    if "version mismatch" not in output:
        return ""
    return "; the client programs must be as new as the server, as Debian's postgresql-client-VERSION is"
