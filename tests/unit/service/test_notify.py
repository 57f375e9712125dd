"""Messages that must arrive, not too often, and never hold anything up."""

from __future__ import annotations

import http.server
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nightflow.config import NotifySettings
from nightflow.service import notify
from nightflow.service.notify import Notifier, NotSentError, send
from nightflow.service.told import Told

WRITES = (
    "import os, sys; open(sys.argv[1], 'a').write(os.environ['NIGHTFLOW_EVENT'] + ' ' + sys.stdin.read())"
)


def writer(file: Path, **settings: object) -> NotifySettings:
    return NotifySettings(command=[sys.executable, "-c", WRITES, str(file)], **settings)


class Hook(http.server.ThreadingHTTPServer):
    """Keeps what is posted to it; answers with ``status`` after ``seconds``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[dict[str, str]] = []
        self.status = 200

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/sesame"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_program_gets_the_message_on_its_input(tmp_path: Path) -> None:
    send(writer(tmp_path / "said"), "failed_frames", "a frame failed; $(rm -rf /)")
    assert (tmp_path / "said").read_text() == "failed_frames a frame failed; $(rm -rf /)\n"


def test_what_a_program_says_of_its_arguments_is_told_without_them(tmp_path: Path) -> None:
    script = tmp_path / "tell.py"
    script.write_text("import sys; print('no such key', *sys.argv[1:], 'x' * 250, sys.argv[-1]); sys.exit(4)")
    arguments = ["--key=sesame-open-1", "Bearer sesame-open-2", "-v"]
    settings = NotifySettings(command=[sys.executable, str(script), *arguments])
    with pytest.raises(NotSentError, match="ended with status 4") as raised:
        send(settings, "test", "hello")
    assert "-v" in str(raised.value)
    assert "sesame" not in str(raised.value)
    script.unlink()
    with pytest.raises(NotSentError, match="ended with status 2"):
        send(settings, "test", "hello")


def test_no_secret_is_in_a_programs_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ("NIGHTFLOW_STORE__URL", "nightflow_notify__webhook", "NIGHTFLOW_STORE", "PGPASSWORD")
    prefect = ("API_KEY", "API_AUTH_STRING", "API_DATABASE_CONNECTION_URL", "CLIENT_CUSTOM_HEADERS")
    server = ("API_AUTH_STRING", "DATABASE_CONNECTION_URL", "DATABASE_PASSWORD")
    for name in (*ours, *(f"PREFECT_{one}" for one in prefect), *(f"prefect_server_{one}" for one in server)):
        monkeypatch.setenv(name, "sesame")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    monkeypatch.setenv("NIGHTFLOW_CONFIG", "/srv/nightflow.toml")
    text = f"import os; open({str(tmp_path / 'said')!r}, 'w').write(repr(dict(os.environ)))"
    send(NotifySettings(command=[sys.executable, "-c", text]), "test", "hello")
    said = (tmp_path / "said").read_text()
    assert "sesame" not in said
    assert "'PREFECT_API_URL': 'http://127.0.0.1:4200/api'" in said
    assert "'NIGHTFLOW_EVENT': 'test'" in said
    assert "'NIGHTFLOW_CONFIG': '/srv/nightflow.toml'" in said


def test_an_address_gets_json(hook: Hook) -> None:
    send(NotifySettings(webhook=hook.address), "no_frames", 'nothing "came"\n<b>')
    assert hook.posted == [{"event": "no_frames", "text": 'nothing "came"\n<b>'}]


def test_one_that_fails_does_not_keep_the_other_from_being_told(hook: Hook) -> None:
    settings = NotifySettings(command=["no-such-program"], webhook=hook.address)
    with pytest.raises(NotSentError, match="no-such-program is not installed"):
        send(settings, "test", "hello")
    assert len(hook.posted) == 1


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://host/sesame", "sesame", "http://127.0.0.1:1/sesame"]
)
def test_a_wrong_address_is_told_without_its_secret(address: str) -> None:
    with pytest.raises(NotSentError, match=r"notify\.webhook") as raised:
        send(NotifySettings(webhook=address), "test", "hello")
    assert "sesame" not in str(raised.value)
    assert "passwd" not in str(raised.value)


def garbage() -> Iterator[str]:
    """A server that answers what is no HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(b"sesame? who is there?\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/sesame"


speaks_garbage = pytest.fixture(garbage)


def test_an_answer_that_is_no_http_and_an_address_with_a_blank_are_told(speaks_garbage: str) -> None:
    for address in (speaks_garbage, speaks_garbage + " x", "http://[::1/sesame"):
        with pytest.raises(NotSentError, match=r"notify\.webhook") as raised:
            send(NotifySettings(webhook=address), "test", "hello")
        assert "sesame" not in str(raised.value)


def test_what_failed_is_sent_again_and_the_next_message_too(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify, "_PAUSES", (0.0, 0.01, 0.01, 0.01))
    told = Told(tmp_path / "told.json")
    notifier = Notifier(NotifySettings(webhook=hook.address), told=told)
    hook.status = 502
    notifier.tell("no_frames", "dark")
    wait_for(lambda: len(hook.posted) == 2)
    hook.status = 200
    wait_for(lambda: len(hook.posted) == 3)
    notifier.tell("failed_frames", "one failed")
    wait_for(lambda: len(hook.posted) == 4)
    assert [one["text"] for one in hook.posted] == ["dark"] * 3 + ["one failed"]
    assert not told.claim("no_frames", 60.0)
    hook.status = 502
    notifier.tell("little_room", "full")
    wait_for(lambda: len(hook.posted) == 8)
    notifier.close(5.0)
    assert told.claim("little_room", 60.0), "it reached nobody: others may tell it"
    assert "sesame" not in caplog.text


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_refusal_is_an_error(hook: Hook) -> None:
    hook.status = 403
    with pytest.raises(NotSentError, match="403") as raised:
        send(NotifySettings(webhook=hook.address), "test", "hello")
    assert "sesame" not in str(raised.value)


def test_a_program_that_fails_says_why() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no route to the mail server')"]
    with pytest.raises(NotSentError, match="status 1: no route to the mail server"):
        send(NotifySettings(command=command), "test", "hello")


def test_the_same_event_is_told_again_only_after_a_while(tmp_path: Path) -> None:
    now = [0.0]
    notifier = Notifier(writer(tmp_path / "said", again_minutes=30.0), clock=lambda: now[0])
    notifier.tell("failed_frames", "first")
    notifier.tell("failed_frames", "second")
    notifier.tell("failed_frames", "third")
    notifier.tell("no_frames", "other")
    notifier.catch_up()
    now[0] = 1799.0
    notifier.catch_up()
    now[0] = 1800.0
    notifier.catch_up()
    notifier.catch_up()
    notifier.close(20.0)
    said = (tmp_path / "said").read_text()
    assert said == "failed_frames first\nno_frames other\nfailed_frames third\n(and 1 more like it)\n"


def test_nobody_waits_for_a_program_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(NotifySettings(command=["sleep", "60"]))
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING):
        notifier.tell("little_room", "the disk fills")
    notifier.close(0.1)
    assert time.monotonic() - begun < 5.0
    assert "the disk fills" in caplog.text


def test_with_nobody_to_tell_it_stands_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(NotifySettings())
    with caplog.at_level(logging.WARNING):
        notifier.tell("little_room", "the disk fills")
    assert not notifier.wanted
    assert "little_room: the disk fills" in caplog.text
