"""One live service a ledger."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nightflow.errors import ConfigurationError
from nightflow.service.instance_lock import only_instance
from nightflow.store.database import Database


def database(folder: Path) -> Database:
    return Database(f"sqlite:///{folder / 'ledger.sqlite'}")


def test_a_second_service_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    with only_instance(database(tmp_path)):
        with pytest.raises(ConfigurationError, match=r"another `nightflow watch`.*process \d+"):
            only_instance(database(tmp_path)).__enter__()
        (tmp_path / "other").mkdir()
        with only_instance(database(tmp_path / "other")):
            pass


def test_the_lock_is_free_afterwards(tmp_path: Path) -> None:
    held = 0
    for _ in range(2):
        with only_instance(database(tmp_path)):
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
    with only_instance(database(tmp_path)):
        pass


def test_a_store_in_memory_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs a store that lasts"):
        only_instance(Database("sqlite:///:memory:")).__enter__()
