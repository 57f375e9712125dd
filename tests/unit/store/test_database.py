from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool
from sqlmodel import Session

import nightflow.store.writer as writer
from nightflow.errors import ConfigurationError, RetryLater, StoreDamaged
from nightflow.store import migrate
from nightflow.store.database import Database, serialise
from nightflow.store.failures import translated
from nightflow.store.ledger import receive
from nightflow.store.models import Frame, Source, Target
from nightflow.store.writer import append
from tests.unit.store.builders import (
    START,
    add_frame,
    columns,
    count,
    everything,
    in_processes,
    record,
    sha,
    stars,
)


def _upgrade(url: str) -> int:
    with Database(url) as database:
        database.upgrade()
        return count(database, "alembic_version")


def test_creating_twice_is_harmless(empty_url: str) -> None:
    database = Database(empty_url)
    database.upgrade()
    receive(database, "/data/a.fits", sha("a"), 1, now=START)
    database.upgrade()
    assert count(database, "exposure") == 1
    database.close()


def test_tables_that_are_not_of_this_version_are_told_and_left_alone(empty_url: str) -> None:
    with Database(empty_url) as database:
        if not database.is_postgres:
            with pytest.raises(ConfigurationError, match="there is no such database"):
                database.check_tables()
            assert not Path(str(make_url(empty_url).database)).exists()
            Path(str(make_url(empty_url).database)).touch()
        with pytest.raises(ConfigurationError, match="has no tables"):
            database.check_tables()
        database.upgrade("0017")
        with pytest.raises(ConfigurationError, match=r"at revision 0017, \d+ is due; start"):
            database.check_tables()
        with database.session() as session:
            assert migrate.current(session.get_bind()) == "0017"  # type: ignore[arg-type]
        database.upgrade()
        database.check_tables()
        with database.write() as session:
            session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(ConfigurationError, match=r"\(revision 9999\) are of a newer nightflow"):
            database.check_tables()


def test_two_processes_create_the_tables_at_once(empty_url: str) -> None:
    assert in_processes(_upgrade, [(empty_url,)] * 3) == [1, 1, 1]


def test_missing_folders_of_the_file_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "store.sqlite"
    with Database(f"sqlite:///{path}") as database:
        database.upgrade()
    assert path.is_file()


def test_sqlite_is_set_up_for_readers_beside_a_writer(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 's.sqlite'}", busy_seconds=7) as database:
        database.upgrade()
        with database.session() as session:
            pragmas = {
                name: session.connection().exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "foreign_keys", "busy_timeout")
            }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 7000}


def test_memory_keeps_its_tables() -> None:
    with Database("sqlite://") as database:
        database.upgrade()
        receive(database, "/data/a.fits", sha("a"), 1, now=START)
        assert count(database, "exposure") == 1


def test_an_error_inside_a_write_leaves_nothing(database: Database) -> None:
    def fail_half_way() -> None:
        with database.write() as session:
            session.add(Target(name="t", ra=1.0, dec=1.0))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert count(database, "target") == 0


def test_foreign_keys_hold(database: Database) -> None:
    orphan = Frame(exposure_id=99, detector="1", hdu=0, kind="light", instrument="i", exptime=1.0, ny=1, nx=1)
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(orphan)


def test_a_read_sees_what_was_committed(database: Database) -> None:
    with database.write() as session:
        session.add(Source(id=1, ra=1.0, dec=2.0, healpix=3))
        with Database(database.url) as other:
            assert count(other, "source") == 0
    assert count(database, "source") == 1


def test_locked_means_retry_later(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.sqlite'}"
    with Database(url, busy_seconds=0.1) as one, Database(url, busy_seconds=0.1) as two:
        one.upgrade()
        with (
            one.write(),
            pytest.raises(RetryLater, match=r"s\.sqlite: locked by another process"),
            two.write(),
        ):
            pass


def test_locked_postgres_means_retry_later(empty_postgres: str) -> None:
    with Database(empty_postgres, busy_seconds=0.2) as database:
        with database.write() as holder:
            serialise(holder, "name")
            with pytest.raises(RetryLater, match="locked by another process"), database.write() as waiter:
                serialise(waiter, "name")
        with database.write() as waiter:
            serialise(waiter, "name")


def _write_more_than_fits(database: Database) -> None:
    with database.write() as session:
        connection = session.connection()
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        session.add_all(Target(name=f"{number}", ra=1.0, dec=1.0, notes="x" * 999) for number in range(999))


def test_full_disk_is_named(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 's.sqlite'}") as database:
        database.upgrade()
        with pytest.raises(RetryLater, match="disk full"):
            _write_more_than_fits(database)
        assert count(database, "target") == 0


def test_read_only_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with Database(f"sqlite:///{path}") as database:
        database.upgrade()
    with (
        Database(f"sqlite:///file:{path}?mode=ro&uri=true") as readonly,
        pytest.raises(ConfigurationError, match="read-only"),
    ):
        receive(readonly, "/data/a.fits", sha("a"), 1, now=START)


def test_read_only_postgres_is_named(full_postgres: str) -> None:
    with Database(full_postgres) as database:
        name = make_url(full_postgres).database
        with database.engine.begin() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        database.close()
        with pytest.raises(ConfigurationError, match="read-only"):
            receive(database, "/data/a.fits", sha("a"), 1, now=START)


def _append(database: Database, frame_id: int) -> None:
    append(database, frame_id, record(), columns(*stars(3000)), now=START)


@pytest.mark.parametrize("setting", ["PRAGMA query_only = on", "SET default_transaction_read_only = on"])
def test_an_append_into_what_may_only_be_read_is_named(request: pytest.FixtureRequest, setting: str) -> None:
    url = request.getfixturevalue("sqlite_url" if setting.startswith("PRAGMA") else "full_postgres")
    with Database(url) as database:
        frame_id = add_frame(database)
        database.close()
        event.listen(database.engine, "connect", lambda driver, _: _execute_and_commit(driver, setting))
        with pytest.raises(ConfigurationError, match="read-only"):
            _append(database, frame_id)
        assert count(database, "reduction") == 0


def _execute_and_commit(driver: Any, statement: str) -> None:
    driver.execute(statement)
    driver.commit()


def test_a_disk_that_is_full_in_the_middle_of_an_append_leaves_nothing(sqlite_url: str) -> None:
    with Database(sqlite_url) as database:
        frame_id = add_frame(database)
        with database.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 20}")
        before = everything(database)
        with pytest.raises(RetryLater, match="disk full; make room"):
            _append(database, frame_id)
        assert everything(database) == before
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        _append(database, frame_id)
        assert count(database, "measurement") == 3000


@pytest.mark.parametrize("raised", [psycopg.errors.DiskFull, psycopg.errors.TooManyConnections])
def test_a_server_without_room_means_retry_later(raised: type[psycopg.Error]) -> None:
    with (
        pytest.raises(RetryLater, match=r"out of disk space, memory or connections \(no room\)"),
        translated("postgresql://user:secret@host/name"),
    ):
        raise raised("no room")


@pytest.mark.parametrize(
    "raised",
    [
        psycopg.errors.InternalError_("out of its mind"),
        psycopg.errors.IdleInTransactionSessionTimeout("ended"),
    ],
    ids=["an internal error", "an idle connection"],
)
def test_what_may_pass_means_retry_later(raised: Exception) -> None:
    """Else it would end the service, and nobody would take what lands."""
    with pytest.raises(RetryLater), translated("postgresql://user:secret@host/name"):
        raise raised


@pytest.mark.parametrize(
    ("raised", "mend"),
    [
        (psycopg.errors.DataCorrupted, "damaged; `nightflow store restore`"),
        (psycopg.errors.IndexCorrupted, "an index is damaged; REINDEX DATABASE mends it"),
    ],
)
def test_a_damaged_postgres_store_is_named_with_its_mend(raised: type[psycopg.Error], mend: str) -> None:
    with (
        pytest.raises(StoreDamaged, match=mend),
        translated("postgresql://user:secret@host/name"),
    ):
        raise raised("invalid page")


def test_a_connection_that_is_never_free_means_retry_later(tmp_path: Path) -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with (
        engine.connect(),
        pytest.raises(RetryLater, match="all connections are in use"),
        translated(f"sqlite:///{tmp_path / 'ledger.sqlite'}"),
        engine.connect(),
    ):
        pytest.fail("a second connection")


def test_a_server_that_runs_out_of_room_means_retry_later(full_postgres: str) -> None:
    """No disk is filled: a sort that may not spill to it fails in the same class of errors."""
    with Database(full_postgres) as database, pytest.raises(RetryLater, match="out of disk space"):
        _sort_much(database)


def _sort_much(database: Database) -> None:
    with database.write() as session:
        for setting in ("temp_file_limit = 0", "work_mem = '64kB'"):
            session.connection().exec_driver_sql(f"SET LOCAL {setting}")
        numbers = "SELECT random() AS one FROM generate_series(1, 100000)"
        session.connection().exec_driver_sql(
            f"SELECT max(one) FROM ({numbers} ORDER BY one OFFSET 0) AS many"
        )


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with (
        Database(f"sqlite:///{tmp_path / 'none' / 's.sqlite'}") as database,
        pytest.raises(ConfigurationError, match=r"cannot be opened; .* may this user write it\?"),
    ):
        count(database, "exposure")


def test_missing_tables_are_named(empty_url: str) -> None:
    with Database(empty_url) as database, pytest.raises(ConfigurationError, match="nightflow init"):
        count(database, "exposure")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    with Database(f"sqlite:///{path}") as database, pytest.raises(ConfigurationError, match="not an SQLite"):
        database.upgrade()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    database = Database(f"sqlite:///{tmp_path / 'file' / 's.sqlite'}")
    with pytest.raises(ConfigurationError, match="cannot make its folder"):
        database.upgrade()


def test_a_server_that_is_away_means_retry_later(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://user:secret@/database?host={tmp_path}"
    with Database(url, busy_seconds=2) as database, pytest.raises(RetryLater, match="away") as caught:
        database.upgrade()
    assert "secret" not in str(caught.value)


def test_a_missing_database_is_named(postgres_url: str) -> None:
    url = postgres_url.replace("/postgres?", "/no_such_database?")
    if url == postgres_url:
        pytest.skip("the URL of the server names another database")
    with Database(url) as database, pytest.raises((ConfigurationError, RetryLater), match="no_such_database"):
        database.upgrade()


def _lose_the_connection(database: Database) -> None:
    with database.session() as session:
        pid = session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with database.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        session.connection().exec_driver_sql("SELECT 1")


def test_a_lost_connection_means_retry_later_and_then_a_new_one(full_postgres: str) -> None:
    with Database(full_postgres) as database:
        with pytest.raises(RetryLater, match=r"server stopping|away"):
            _lose_the_connection(database)
        assert count(database, "exposure") == 0


def test_a_server_that_dies_in_the_middle_of_an_append_leaves_nothing(
    full_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = writer.insert_measurements

    def insert_and_lose_the_server(session: Session, *arguments: Any) -> int:
        inserted = real(session, *arguments)
        pid = session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with Database(full_postgres) as other, other.write() as killer:
            killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        return inserted

    with Database(full_postgres) as database:
        frame_id = add_frame(database)
        before = everything(database)
        with monkeypatch.context() as patched:
            patched.setattr(writer, "insert_measurements", insert_and_lose_the_server)
            with pytest.raises(RetryLater, match=r"server stopping|away|connection lost"):
                _append(database, frame_id)
        assert everything(database) == before
        _append(database, frame_id)
        assert count(database, "measurement") == 3000


@pytest.mark.parametrize(
    ("url", "message"),
    [("no url", "not a database URL"), ("mysql://host/name", "use sqlite:/// or postgresql")],
)
def test_an_unusable_url_is_named(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Database(url)


def test_plain_postgres_url_gets_the_driver() -> None:
    with Database("postgresql://host/name") as database:
        assert database.engine.dialect.driver == "psycopg"


def test_threads_write_one_after_another(database: Database) -> None:
    def work(name: str) -> None:
        for number in range(5):
            receive(database, f"/data/{name}{number}", sha(f"{name}{number}"), 1, now=START)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database, "exposure") == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_gets_a_connection_of_its_own(database: Database) -> None:
    receive(database, "/data/parent.fits", sha("parent"), 1, now=START)
    child = os.fork()
    if child == 0:
        try:
            receive(database, "/data/child.fits", sha("child"), 1, now=START)
            os._exit(0)
        except BaseException:  # noqa: BLE001  (nothing may come out of the child but its exit code)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert count(database, "exposure") == 2
