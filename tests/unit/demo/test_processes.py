"""Programs of the demo are started, waited for with patience, and ended whatever happens."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from nightflow.demo import processes
from nightflow.demo.night import land
from nightflow.errors import NightflowError

SLEEPER = [sys.executable, "-c", "print('here', flush=True); import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True);"
    "time.sleep(60)",
]


@pytest.mark.parametrize("command", [SLEEPER, STUBBORN], ids=["willing", "stubborn"])
def test_a_program_is_ended(tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_STOP_PATIENCE", 1.0)
    log = tmp_path / "log"
    with processes.running(command, log, {}) as process:
        processes.wait_for(lambda: "here" in log.read_text(), process, log, 20)
        assert process.poll() is None
    assert process.poll() is not None


def test_an_error_inside_ends_it_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), processes.running(SLEEPER, tmp_path / "log", {}) as process:
        raise ZeroDivisionError
    assert process.poll() is not None


def test_a_program_that_ends_early_is_named_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with (
        processes.running(command, log, {}) as process,
        pytest.raises(NightflowError, match=r"ended with 3; see .*server\.log"),
    ):
        processes.wait_for(lambda: False, process, log, 20)


def test_patience_ends(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with (
        processes.running(SLEEPER, log, {}) as process,
        pytest.raises(NightflowError, match=r"not done after 0 s; see .*server\.log"),
    ):
        processes.wait_for(lambda: False, process, log, 0.2)


class Counting(BaseHTTPRequestHandler):
    """Answers as the API does: 89 runs of the deployment `live`, and two that catch up."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = {
            ("/api/flow_runs/count", "deployments", "live"): 89,
            ("/api/flow_runs/filter", "flows", "catch-up"): [{"id": "a", "name": "x"}, {"id": "b"}],
        }
        [(what, by)] = asked.items()
        answer = answers.get((self.path, what, by["name"]["any_"][0]))
        self.send_response(404 if answer is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Counting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


def test_runs_are_counted_under_the_deployment(api: str) -> None:
    assert processes.count_runs(api) == 89


def test_runs_that_list_late_exposures_are_found(api: str) -> None:
    assert processes.catch_up_runs(api) == ["a", "b"]


def test_a_server_that_is_away_is_not_healthy() -> None:
    assert not processes._is_healthy(f"http://127.0.0.1:{processes._free_port()}/api")


def test_frames_land_whole_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, folder = tmp_path / "simulated", tmp_path / "incoming"
    source.mkdir()
    folder.mkdir()
    frames = [source / f"{n}.fits" for n in range(3)]
    for frame in frames:
        frame.write_bytes(frame.name.encode())
    landed: list[list[str]] = []
    monkeypatch.setattr(
        "nightflow.demo.night.time.sleep", lambda _: landed.append(sorted(f.name for f in folder.iterdir()))
    )
    land(frames, folder, cadence=0.5)
    assert landed == [["0.fits"], ["0.fits", "1.fits"], ["0.fits", "1.fits", "2.fits"]]
    assert (folder / "1.fits").read_bytes() == b"1.fits"
