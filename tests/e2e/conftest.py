"""Real processes: a Prefect server, a watcher, a simulated night."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from nightflow.kernel_cache import are_ready
from nightflow.service.warm_up import REHEARSAL
from nightflow.simulate import NightPlan, write_night
from tests.e2e.observatory import SETTINGS, Observatory

BIN = Path(sys.executable).parent
SERVER_START_SECONDS = 90
REHEARSAL_SECONDS = 600


@dataclass
class Server:
    """A Prefect server on the loopback, with a home of its own."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    BIN / "prefect",
                    "server",
                    "start",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(self.port),
                ],
                # Its pages run in the browser and ask there for what they show.
                env=clean_environment()
                | {
                    "PREFECT_HOME": str(self.home),
                    "PREFECT_SERVER_UI_API_URL": self.url,
                    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self.is_healthy, SERVER_START_SECONDS, "the Prefect server to start")

    def is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """End it at once, as a crash would; only the process group that was started here."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def find(self, what: str, **filters: Any) -> list[dict[str, Any]]:
        """Return what the API lists, e.g. ``find("flow_runs", deployments={...})``."""
        answer = httpx.post(f"{self.url}/{what}/filter", json={"limit": 200, **filters}, timeout=20)
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()
        return rows


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels() -> None:
    """Let no test wait for what a watcher does once, after an upgrade."""
    if not are_ready():
        subprocess.run(REHEARSAL, check=True, timeout=REHEARSAL_SECONDS)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server; a test that kills it starts it again."""
    server = Server(home=tmp_path_factory.mktemp("prefect-home"), port=free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def small_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a simulated night: 11 calibrations and 8 lights of 768 x 768 pixels."""
    folder = tmp_path_factory.mktemp("night")
    write_night(NightPlan.small(n_lights=8), folder)
    return folder


@dataclass
class Watcher:
    """`nightflow watch` as a process of its own."""

    root: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with (self.root / "watch.log").open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "nightflow", "watch", "--config", str(self.root / "nightflow.toml")],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return (self.root / "watch.log").read_text(errors="replace")

    def stop(self) -> float:
        """Ask it to stop; return how long that took [s]."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log
        return time.monotonic() - began

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@contextlib.contextmanager
def watcher_of(root: Path, settings: str) -> Iterator[Watcher]:
    """A watcher of ``incoming`` in this folder, yet to be started; in the end it is killed if it runs."""
    (root / "incoming").mkdir()
    (root / "nightflow.toml").write_text(settings)
    watcher = Watcher(root=root, environment=clean_environment() | {"PREFECT_HOME": str(root / "prefect")})
    try:
        yield watcher
    finally:
        watcher.kill()


@pytest.fixture
def new_watcher(tmp_path: Path, prefect_server: Server) -> Iterator[Callable[[str], Watcher]]:
    """Makes a watcher with these settings."""
    with contextlib.ExitStack() as made:
        yield lambda settings: made.enter_context(watcher_of(tmp_path, settings))


@pytest.fixture
def open_observatory(
    new_watcher: Callable[[str], Watcher], prefect_server: Server, small_night: Path
) -> Callable[[str], Observatory]:
    """Makes an observatory that treats missing calibrations this way."""

    def make(missing_calibration: str) -> Observatory:
        settings = SETTINGS.format(missing_calibration=missing_calibration, url=prefect_server.url)
        return Observatory(new_watcher(settings), small_night)

    return make


def deploy(folder: Path, url: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Let `nightflow deploy` bring a server up to date by the settings in a folder."""
    environment = clean_environment() | {"PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": url}
    command = [BIN / "nightflow", "deploy", "--config", str(folder / "nightflow.toml")]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def pool_worker(root: Path, url: str, pool: str = "nightflow") -> Iterator[subprocess.Popen[bytes]]:
    """A process that executes the runs of a work pool, by the settings in a folder."""
    environment = clean_environment() | {
        "PREFECT_HOME": str(root / "worker"),
        "PREFECT_API_URL": url,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "NIGHTFLOW_CONFIG": str(root / "nightflow.toml"),
    }
    with (root / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [BIN / "prefect", "worker", "start", "--pool", pool, "--type", "process"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without a person's own Prefect and nightflow settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "NIGHTFLOW_"))}
    return kept | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Ask until it is so.

    Raises
    ------
    AssertionError
        It was not so in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)
