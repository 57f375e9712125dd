"""Programs that the demo and the benchmarks start: a Prefect server and the watcher, on this machine only."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nightflow.config import DEFAULT_FILE, Settings
from nightflow.errors import NightflowError
from nightflow.service.prefect_environment import SERVER

__all__ = ["catch_up_runs", "count_runs", "prefect_server", "program", "running", "wait_for", "watcher"]

_SERVER_PATIENCE = 120.0
_STOP_PATIENCE = 15.0
_POLL = 0.3


@contextmanager
def prefect_server(home: Path, database: str = "") -> Iterator[str]:
    """Run a Prefect server with a home of its own; give its API's address.

    Parameters
    ----------
    home : Path
        Made.
    database : str
        URL of its database; an SQLite file in its home where there is none.
    """
    home.mkdir(parents=True)
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = [program("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    # The pages ask port 4200 unless they are told where they come from.
    environment = {**SERVER, "PREFECT_HOME": str(home), "PREFECT_SERVER_UI_API_URL": url}
    if database:
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = database
    with running(command, home / "server.log", environment) as process:
        wait_for(lambda: _is_healthy(url), process, home / "server.log", _SERVER_PATIENCE)
        yield url


@contextmanager
def watcher(settings: Settings, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `nightflow watch` on the settings."""
    config = settings.root / DEFAULT_FILE
    command = [program("nightflow"), "watch", "--config", str(config)]
    environment = {"PREFECT_API_URL": url, "PREFECT_HOME": str(settings.root / "prefect")}
    with running(command, settings.root / "watch.log", environment) as process:
        yield process


def count_runs(url: str) -> int:
    """Return the number of flow runs under the live deployment."""
    return int(_ask(f"{url}/flow_runs/count", {"deployments": {"name": {"any_": ["live"]}}}))


def catch_up_runs(url: str) -> list[str]:
    """Return the ids of the runs that list what had none of its own."""
    runs = _ask(f"{url}/flow_runs/filter", {"flows": {"name": {"any_": ["catch-up"]}}})
    return [str(run["id"]) for run in runs]


def _ask(address: str, question: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        address, data=json.dumps(question).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, patience: float
) -> None:
    """Wait for a condition; an end of the process or of patience is an error that names the log."""
    deadline = time.monotonic() + patience
    while not condition():
        if process.poll() is not None:
            raise NightflowError(f"{process.args!r} ended with {process.returncode}; see {log}")
        if time.monotonic() > deadline:
            raise NightflowError(f"not done after {patience:.0f} s; see {log}")
        time.sleep(_POLL)


def program(name: str) -> str:
    """Return a program of this environment, whatever PATH says."""
    return str(Path(sys.executable).parent / name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], log: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, its output in a file; it is asked to stop in the end, and killed if it will not."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
