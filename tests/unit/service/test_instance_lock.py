"""One live service a ledger."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from nightflow.errors import ConfigurationError, RetryLater
from nightflow.service.instance_lock import InstanceTaken, lock_holder, only_instance
from nightflow.store.database import Database
from tests.unit.store.conftest import *  # noqa: F403  (a Postgres)


def ledger(folder: Path) -> Database:
    return Database(f"sqlite:///{folder / 'ledger.sqlite'}")


def test_a_second_service_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    with only_instance(ledger(tmp_path)):
        with pytest.raises(ConfigurationError, match=r"another `nightflow watch`.*process \d+"):
            only_instance(ledger(tmp_path)).__enter__()
        (tmp_path / "other").mkdir()
        with only_instance(ledger(tmp_path / "other")):
            pass


def test_the_lock_is_free_afterwards(tmp_path: Path) -> None:
    held = 0
    for _ in range(2):
        with only_instance(ledger(tmp_path)):
            held += 1
    assert held == 2


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from nightflow.service.instance_lock import only_instance\n"
        "from nightflow.store.database import Database\n"
        "with only_instance(Database(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    ended = subprocess.run([sys.executable, "-c", program, url], timeout=60, check=False)
    assert ended.returncode == -9
    assert (tmp_path / "ledger.sqlite.watch.lock").exists()
    with only_instance(ledger(tmp_path)):
        pass


def test_a_store_in_memory_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs a store that lasts"):
        only_instance(Database("sqlite:///:memory:")).__enter__()


def test_a_lock_that_was_deleted_is_taken_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with only_instance(ledger(tmp_path)) as lock:
        lock.keep()
        assert caplog.text == ""
        (tmp_path / "ledger.sqlite.watch.lock").unlink()
        lock.keep()
        assert "deleted or replaced; taken again" in caplog.text
        with pytest.raises(InstanceTaken):
            only_instance(ledger(tmp_path)).__enter__()


def test_a_lock_that_another_service_has_now_is_said(tmp_path: Path) -> None:
    with only_instance(ledger(tmp_path)) as lock:
        (tmp_path / "ledger.sqlite.watch.lock").unlink()
        with only_instance(ledger(tmp_path)), pytest.raises(InstanceTaken, match="another `nightflow watch`"):
            lock.keep()


def test_a_lock_on_a_disk_that_is_away_is_looked_at_later(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with only_instance(ledger(folder)) as lock:
        folder.rename(tmp_path / "unmounted")
        with pytest.raises(RetryLater, match="cannot be looked at"):
            lock.keep()
        (tmp_path / "unmounted").rename(folder)
        lock.keep()


def cut_off(url: str) -> None:
    """End all sessions of a database but one's own, as a restart of the server does."""
    others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
    with Database(url) as database, database.engine.connect() as connection:
        connection.execute(text(f"{others} AND pid <> pg_backend_pid()"))


def test_on_postgres_a_second_service_is_refused_until_the_first_ends(empty_postgres: str) -> None:
    with Database(empty_postgres) as first, Database(empty_postgres) as second:
        with only_instance(first) as lock:
            lock.keep()
            with pytest.raises(InstanceTaken, match=r"its process \d+"):
                only_instance(second).__enter__()
        with only_instance(second):
            pass


def test_a_lock_that_a_restart_of_postgres_freed_is_taken_again(
    empty_postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Database(empty_postgres) as first, Database(empty_postgres) as second, only_instance(first) as lock:
        cut_off(empty_postgres)
        lock.keep()
        assert "lock taken again" in caplog.text
        with pytest.raises(InstanceTaken):
            only_instance(second).__enter__()


def test_a_lock_that_another_service_took_after_a_restart_of_postgres_is_said(empty_postgres: str) -> None:
    with Database(empty_postgres) as first, Database(empty_postgres) as second, only_instance(first) as lock:
        cut_off(empty_postgres)
        with only_instance(second), pytest.raises(InstanceTaken):
            lock.keep()


def test_the_end_bears_a_connection_that_is_lost(empty_postgres: str) -> None:
    with Database(empty_postgres) as first, only_instance(first):
        cut_off(empty_postgres)
    with Database(empty_postgres) as second, only_instance(second):
        assert lock_holder(second) is not None
