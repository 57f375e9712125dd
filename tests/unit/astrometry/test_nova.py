"""The rung `nova` against a server of our own that answers as nova.astrometry.net does, or does not."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs

import numpy as np
import pytest

import nightflow.simulate
from nightflow.astrometry.nova import NovaAccess, solve_nova
from nightflow.astrometry.nova_worker import answer
from nightflow.astrometry.solution import Quality, SolveRequest
from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.external import Finished
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.processes import all_gone, program, with_stubborn_child
from tests.unit.astrometry.synthetic import make_request, make_wcs, worst_error

RA, DEC = 31.05, 46.70
SHAPE = (900, 1024)
SCALE = 3.0
SETTINGS = AstrometrySettings(scale=SCALE)
TRUE = make_wcs(RA, DEC, scale=SCALE, rotation=25.0, shape=SHAPE)
FALSE = make_wcs(RA + 0.1, DEC, scale=SCALE, rotation=205.0, shape=SHAPE)
KEY = "sesamopeniteindeed"


def cards(wcs) -> bytes:
    return wcs.to_header(relax=True).tostring().encode()


class Nova(ThreadingHTTPServer):
    """What is asked, and what shall be answered: bytes, a number for an HTTP error, or None for never."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.uploaded: dict = {}
        self.login: dict = {}
        self.closing = threading.Event()
        self.answers: dict[str, object] = {
            "/api/login": b'{"status": "success", "session": "s3"}',
            "/api/url_upload": b'{"status": "success", "subid": 17}',
            "/api/submissions/17": b'{"jobs": [23], "job_calibrations": []}',
            "/api/jobs/23/info": b'{"status": "success"}',
            "/wcs_file/23": cards(TRUE),
        }

    @property
    def access(self) -> NovaAccess:
        return NovaAccess(key=KEY, url=f"http://127.0.0.1:{self.server_port}", seconds=20.0)


class _Handler(BaseHTTPRequestHandler):
    server: Nova
    protocol_version: ClassVar[str] = "HTTP/1.0"

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        content = json.loads(parse_qs(sent)["request-json"][0])
        if self.path == "/api/login":
            self.server.login = content
        else:
            self.server.uploaded = content
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, 404)
        if answer is None:
            self.server.closing.wait(60.0)
        elif isinstance(answer, int):
            self.send_error(answer)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def nova() -> Iterator[Nova]:
    with Nova() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> LocalCatalogs:
    folder = tmp_path_factory.mktemp("catalogs")
    import_catalog(Path(nightflow.simulate.__file__).parent / "data" / "tycho2_hatp32.csv", "tycho2", folder)
    return LocalCatalogs(folder)


@pytest.fixture
def request_(catalogs: LocalCatalogs) -> SolveRequest:
    stars = catalogs.cone("tycho2", RA, DEC, 1.0)
    stars = replace(stars, mags={"G": stars.brightness()})
    return make_request(TRUE, stars, shape=SHAPE, epoch=stars.epoch, scale=SCALE)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask in this process: one that imports astroquery takes seconds to start."""

    def run(command, *, stdin: str, **options) -> Finished:
        return Finished(status=0, stdout=json.dumps(answer(json.loads(stdin))), stderr="")

    monkeypatch.setattr("nightflow.astrometry.nova.run_bounded", run)


def test_a_true_answer_is_verified(nova, request_, catalogs):
    solution = solve_nova(request_, catalogs, SETTINGS, nova.access)
    assert (solution.backend, solution.quality) == ("nova", Quality.VERIFIED)
    assert worst_error(solution.wcs, TRUE, SHAPE) < 1.0
    assert nova.login == {"apikey": KEY}
    assert nova.asked == [
        "/api/login",
        "/api/url_upload",
        "/api/submissions/17",
        "/api/jobs/23/info",
        "/wcs_file/23",
    ]
    sent = nova.uploaded
    assert (sent["image_width"], sent["image_height"]) == (1024, 900)
    assert (sent["scale_lower"], sent["scale_upper"]) == pytest.approx((2.82, 3.18))
    assert (sent["center_ra"], sent["center_dec"]) == (RA, DEC)
    assert sent["publicly_visible"] == "n"
    assert set(zip(sent["x"], sent["y"], strict=True)) <= set(
        zip((request_.x + 1.0).tolist(), (request_.y + 1.0).tolist(), strict=True)
    )


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
@pytest.mark.parametrize(
    ("path", "answered", "words"),
    [
        pytest.param("/wcs_file/23", cards(FALSE), "candidate refused|stars matched", id="false claim"),
        pytest.param("/wcs_file/23", cards(TRUE)[:400], "none of the sky|cannot be read", id="half a header"),
        pytest.param("/wcs_file/23", 500, "none of the sky|cannot be read|Error", id="no header"),
        pytest.param("/api/jobs/23/info", b'{"status": "failure"}', "found no solution", id="not solved"),
        pytest.param("/api/login", b'{"status": "error", "errormessage": "no"}', "log in", id="bad key"),
        pytest.param("/api/login", b"<html>down</html>", "Error", id="a page"),
        pytest.param("/api/url_upload", 503, "Post of job failed|Error", id="upload refused"),
        pytest.param("/api/submissions/17", b'{"jobs": [2', "Error", id="half an answer"),
    ],
)
def test_an_answer_that_is_none(nova, request_, catalogs, here, path, answered, words):
    nova.answers[path] = answered
    with pytest.raises(NoSolution, match=words) as caught:
        solve_nova(request_, catalogs, SETTINGS, nova.access)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_service_that_hangs_is_left_in_time(nova, request_, catalogs, monkeypatch):
    nova.answers["/api/login"] = None
    monkeypatch.setattr("nightflow.astrometry.nova._START", 4.0)
    started = time.monotonic()
    with pytest.raises(NoSolution, match=r"did not end in 5\.0 s"):
        solve_nova(request_, catalogs, SETTINGS, replace(nova.access, seconds=1.0))
    assert time.monotonic() - started < 20.0


def test_a_queue_that_is_too_long(nova, request_, catalogs, here):
    nova.answers["/api/submissions/17"] = b'{"jobs": []}'
    with pytest.raises(NoSolution, match="Solve timed out"):
        solve_nova(request_, catalogs, SETTINGS, replace(nova.access, seconds=1.0))


def test_nobody_there(request_, catalogs, here):
    with pytest.raises(NoSolution, match=r"ConnectionError|refused"):
        solve_nova(request_, catalogs, SETTINGS, NovaAccess(key=KEY, url="http://127.0.0.1:9", seconds=10.0))


def test_without_a_key_nothing_is_sent(nova, request_, catalogs):
    with pytest.raises(NoSolution, match="no key: set NIGHTFLOW_ASTROMETRY__NOVA_KEY"):
        solve_nova(request_, catalogs, SETTINGS, replace(nova.access, key=""))
    assert nova.asked == []


def test_without_a_catalogue_nothing_is_sent(nova, request_, tmp_path):
    with pytest.raises(NoSolution, match="no local catalogue"):
        solve_nova(request_, LocalCatalogs(tmp_path), SETTINGS, nova.access)
    assert nova.asked == []


def test_the_key_is_nowhere_to_be_read(request_, catalogs):
    assert KEY not in repr(NovaAccess(key=KEY))
    tells = "import json, sys; key = json.load(sys.stdin)['key']; "
    for text in (tells + "sys.exit(key)", tells + "print(json.dumps({'error': key}))", tells + "print(key)"):
        with pytest.raises(NoSolution, match="<key>") as caught:
            solve_nova(request_, catalogs, SETTINGS, NovaAccess(key=KEY), program(text))
        assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("key", [KEY, "sesam\"o\\pen'ite\xefndeed"], ids=["plain", "to be quoted"])
@pytest.mark.parametrize("said", ["key", "repr(key)", "json.dumps(key)"])
@pytest.mark.parametrize(
    "how",
    [
        "sys.exit({long})",
        "print({long})",
        "print(json.dumps({{'error': {long}}}))",
        "print({long}, file=sys.stderr, flush=True); import os; os.kill(os.getpid(), 9)",
    ],
)
def test_no_part_of_the_key_is_left_by_a_cut(request_, catalogs, key, said, how):
    """Texts are cut to 300 characters, from either end: here in the middle of the key."""
    tells = "import json, sys; key = json.load(sys.stdin)['key']; "
    middle = len(key) // 2
    long = f"'y' * (299 - {middle}) + {said} + 'x' * (299 - {middle})"
    with pytest.raises(NoSolution) as caught:
        solve_nova(request_, catalogs, SETTINGS, NovaAccess(key=key), program(tells + how.format(long=long)))
    told = "".join(traceback.format_exception(caught.value))
    assert "xxx" in told or "yyy" in told
    assert "sam" not in told.replace("same", "")
    assert "ndeed" not in told


def test_the_key_is_no_argument(request_, catalogs, tmp_path):
    note = tmp_path / "arguments"
    text = f"import sys; open({str(note)!r}, 'w').write(open('/proc/self/cmdline').read())"
    with pytest.raises(NoSolution):
        solve_nova(request_, catalogs, SETTINGS, NovaAccess(key=KEY), program(text))
    assert note.read_text()
    assert KEY not in note.read_text()


@pytest.mark.parametrize("name", ["NIGHTFLOW_ASTROMETRY__NOVA_KEY", "nightflow_astrometry__nova_key"])
def test_the_key_is_in_no_programs_environment(request_, catalogs, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, KEY)
    note = tmp_path / "environment"
    text = f"import os; open({str(note)!r}, 'w').write(repr(os.environ))"
    with pytest.raises(NoSolution):
        solve_nova(request_, catalogs, SETTINGS, NovaAccess(key=KEY), program(text))
    assert "PATH" in note.read_text()
    assert KEY not in note.read_text()


def test_a_hung_process_is_ended_with_its_child(request_, catalogs, tmp_path, monkeypatch):
    monkeypatch.setattr("nightflow.astrometry.nova._START", 1.0)
    note = tmp_path / "pids"
    command = program(with_stubborn_child(note, "time.sleep(60)"))
    with pytest.raises(NoSolution, match="did not end"):
        solve_nova(request_, catalogs, SETTINGS, NovaAccess(key=KEY, seconds=0.5), command)
    assert all_gone(note)


def test_few_stars_are_not_sent(nova, request_, catalogs):
    few = replace(request_, x=np.empty(0), y=np.empty(0), flux=np.empty(0))
    with pytest.raises(NoSolution, match="0 stars detected"):
        solve_nova(few, catalogs, SETTINGS, nova.access)
    assert nova.asked == []
