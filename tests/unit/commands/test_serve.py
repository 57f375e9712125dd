from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from nightflow.web.server import DashboardServer
from tests.unit.commands.conftest import LIGHTS, Observatory

pytestmark = pytest.mark.xdist_group("commands")


def test_the_dashboard_of_a_night_until_interrupted(reduced: Observatory) -> None:
    command = [sys.executable, "-c", "from nightflow.cli import app; app()", "serve", "--port", "0"]
    config = ["--config", str(reduced.root / "nightflow.toml")]
    with subprocess.Popen(
        [*command, *config], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            assert process.stdout is not None
            match = re.match(r"(http://127\.0\.0\.1:\d+/)", process.stdout.readline())
            assert match is not None
            page = urllib.request.urlopen(match[1], timeout=20).read().decode()
            pictures = re.findall(r"/thumbnail/\d+\.png", page)
            assert len(pictures) == LIGHTS
            first = urllib.request.urlopen(match[1].rstrip("/") + pictures[0], timeout=20).read()
            assert first.startswith(b"\x89PNG")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_host_that_others_reach_is_warned_of(reduced: Observatory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DashboardServer, "serve_forever", lambda *_: None)
    assert "may be reached by others" in reduced("serve", "--host", "0.0.0.0", "--port", "0").stderr
    assert "may be reached" not in reduced("serve", "--port", "0").stderr


def test_a_port_that_is_none(reduced: Observatory) -> None:
    assert reduced("serve", "--port", "70000").exit_code == 2
