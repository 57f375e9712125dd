"""Databases for the Prefect server: an SQLite file of its own, or a Postgres that is installed here.

The Postgres of the tests, which is a wheel, will not do: Prefect's tables need the extension pg_trgm.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Skipped
from nightflow.errors import NightflowError

__all__ = ["prefect_database"]

_OWNER = "postgres"
"""Account of Debian's packages; a superuser must not run the server."""
_PATIENCE = 30.0


@contextmanager
def prefect_database(kind: str) -> Iterator[str]:
    """Give the URL of an empty database: "" for an SQLite file of the server, else that of a new Postgres.

    Raises
    ------
    Skipped
        No Postgres with its extensions is installed.
    NightflowError
        It does not start.
    """
    if kind == "sqlite":
        yield ""
        return
    programs = _programs()
    owner = _OWNER if os.geteuid() == 0 else None
    # The path of a socket must be short, and the server's own user must get to it.
    with tempfile.TemporaryDirectory(prefix="nf-pg-") as name:
        folder = Path(name)
        if owner is not None:
            shutil.chown(folder, owner)
        data = str(folder / "data")
        made = [str(programs / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(made, user=owner, check=True, capture_output=True)
        with _server([str(programs / "postgres"), "-D", data, "-k", name, "-h", ""], folder, owner):
            yield f"postgresql+asyncpg://postgres@/postgres?host={name}"


@contextmanager
def _server(command: list[str], folder: Path, owner: str | None) -> Iterator[None]:
    """Run a server until the block ends; it then cuts off whoever is connected."""
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, user=owner, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not (folder / ".s.PGSQL.5432").exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise NightflowError(f"Postgres does not start: {(folder / 'log').read_text()[-1000:]}")
            time.sleep(0.1)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _programs() -> Path:
    """Return the folder of the newest Postgres that has what Prefect needs."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: float(one.parts[-3]))
    if not installed:
        raise Skipped("no Postgres in /usr/lib/postgresql; Debian: apt install postgresql")
    return installed[-1].parent
