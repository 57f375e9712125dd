from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from nightflow.astrometry import astrometry_net
from nightflow.astrometry.astrometry_net import index_files, run_worker, solve_astrometry_net
from nightflow.astrometry.astrometry_net_worker import solve
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.processes import is_running
from tests.unit.astrometry.synthetic import SCALE, make_stars, random_request, store

PAYLOAD = {"stars": [[1.0, 2.0]], "time_limit": 5.0}


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_answer_comes_back():
    echo = "import json, sys; json.dump({'matches': json.load(sys.stdin)['stars']}, sys.stdout)"
    assert run_worker(PAYLOAD, 20.0, program(echo)) == {"matches": [[1.0, 2.0]]}


def test_hung_solver_is_ended_with_its_children(tmp_path):
    note = tmp_path / "pids"
    hang = (
        "import os, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}');"
        "time.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(NoSolution, match=r"did not end in 1\.5 s"):
        run_worker(PAYLOAD, 1.5, program(hang))
    assert time.monotonic() - started < 5.0
    parent, child = (int(pid) for pid in note.read_text().split())
    assert not is_running(parent)
    # an orphan closes its pipes, which the solver's end waits for, a moment before it has ended
    deadline = time.monotonic() + 5.0
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(child)


def test_crash_names_the_signal():
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(NoSolution, match="ended by SIGSEGV"):
        run_worker(PAYLOAD, 20.0, program(crash))


def test_the_limit_is_of_cpu_time():
    """A solver that is kept waiting by the machine goes on, one that computes is ended."""
    limit = "import signal; signal.setitimer(signal.ITIMER_PROF, 0.3)\n"
    busy, waits = limit + "while True: pass", limit + "import time; time.sleep(1.0); print('{}')"
    with pytest.raises(NoSolution, match=r"found nothing in 0\.3 s of its CPU time"):
        run_worker({"time_limit": 0.3}, 60.0, program(busy))
    assert run_worker({"time_limit": 0.3}, 60.0, program(waits)) == {}


def test_the_worker_keeps_the_limit():
    """It takes much longer to import the solver than it is given here."""
    with pytest.raises(NoSolution, match=r"found nothing in 0\.0 s of its CPU time"):
        run_worker(PAYLOAD | {"time_limit": 0.001}, 60.0)


def test_failure_quotes_the_last_words():
    with pytest.raises(NoSolution, match=r"(?s)status 1: .*ValueError: out of stars"):
        run_worker(PAYLOAD, 20.0, program("raise ValueError('out of stars')"))


@pytest.mark.parametrize("answer", ["", "not json", "[1, 2]"])
def test_nonsense_is_refused(answer):
    with pytest.raises(NoSolution, match="answered no JSON"):
        run_worker(PAYLOAD, 20.0, program(f"print({answer!r})"))


def test_absent_program():
    with pytest.raises(NoSolution, match="not installed"):
        run_worker(PAYLOAD, 1.0, ["/nonexistent/solver"])


def test_absent_wheel(monkeypatch):
    monkeypatch.setitem(sys.modules, "astrometry", None)
    assert "not installed" in solve({"scale": None, "position": None})["error"]


def test_no_index_file_names_the_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(astrometry_net, "PACKAGED_INDEX_FOLDER", tmp_path / "none")
    with pytest.raises(NoSolution, match=str(tmp_path)):
        index_files([tmp_path])


def test_own_index_file_wins_over_the_packaged_one(tmp_path, monkeypatch):
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    for folder in (tmp_path, packaged):
        (folder / "index-1.fits").touch()
    (packaged / "index-2.fits").touch()
    monkeypatch.setattr(astrometry_net, "PACKAGED_INDEX_FOLDER", packaged)
    assert index_files([tmp_path]) == [tmp_path / "index-1.fits", packaged / "index-2.fits"]


def test_gpl_code_stays_in_its_own_process():
    check = (
        "import sys, nightflow.astrometry.ladder, nightflow.astrometry.astrometry_net_worker;"
        "sys.exit('astrometry' in sys.modules)"
    )
    assert subprocess.run(program(check), timeout=60).returncode == 0


def test_damaged_index_file_is_a_refusal(tmp_path):
    damaged = tmp_path / "index-1.fits"
    damaged.write_bytes(b"no index at all" * 500)
    payload = {
        "stars": [[float(i), float(i * i % 97)] for i in range(20)],
        "index_files": [str(damaged)],
        "scale": None,
        "position": None,
        "parity": "both",
        "time_limit": 10.0,
    }
    with pytest.raises(NoSolution, match=r"the solver's process failed|ended by"):
        run_worker(json.loads(json.dumps(payload)), 20.0)


@pytest.fixture
def asked(monkeypatch) -> list[tuple[list[float] | None, float]]:
    """What the solver is asked: position and limit of CPU time of each attempt; it never finds anything."""
    calls = []

    def nothing(payload, time_limit, command=()):
        assert time_limit >= payload["time_limit"]
        calls.append((payload["position"], payload["time_limit"]))
        return {"matches": []}

    monkeypatch.setattr(astrometry_net, "run_worker", nothing)
    return calls


@pytest.mark.parametrize(("ra", "attempts"), [(80.0, 2), (None, 1)])
def test_a_frame_that_cannot_be_solved_is_given_up_soon(tmp_path, asked, ra, attempts):
    catalogs = store(tmp_path, make_stars(80.0, 10.0, 2.0, 200))
    request = random_request(1, ra=ra, dec=10.0, time_limit=30.0)
    with pytest.raises(NoSolution, match="blind: 60 stars match nothing"):
        solve_astrometry_net(request, catalogs, AstrometrySettings(scale=SCALE), [])
    assert len(asked) == attempts
    blind_position, blind_limit = asked[-1]
    assert blind_position is None
    assert blind_limit <= 8.0
    assert sum(limit for _, limit in asked) <= 15.0


def test_a_hint_where_no_catalogue_has_stars_is_not_followed(tmp_path, asked):
    """Whatever were found there could not be verified; the hint may be wrong, though."""
    catalogs = store(tmp_path, make_stars(200.0, 10.0, 2.0, 200))
    request = random_request(1, ra=80.0, dec=10.0)
    with pytest.raises(NoSolution, match="with hints: fewer than 6 catalogue stars") as caught:
        solve_astrometry_net(request, catalogs, AstrometrySettings(scale=SCALE), [])
    assert "blind: 60 stars match nothing" in str(caught.value)
    assert [position for position, _ in asked] == [None]


def test_without_any_catalogue_no_solver_is_started(tmp_path, asked):
    with pytest.raises(NoSolution, match=r"no local catalogue .* `nightflow catalog import`"):
        solve_astrometry_net(
            random_request(1, ra=None, dec=None), LocalCatalogs(tmp_path), AstrometrySettings(scale=SCALE), []
        )
    assert not asked
