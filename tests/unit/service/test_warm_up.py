"""After it, the first frame reads no table any more; and nothing of it lives on beside the main thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.unit.astrometry.processes import is_running

CODE = """
import sys, threading
from nightflow.service.warm_up import warm_up
from astropy.utils import iers
warm_up()
assert threading.active_count() == 1, threading.enumerate()
iers.IERS.read = iers.IERS_A.read = iers.IERS_B.read = None
from nightflow.instruments.header import Site
from nightflow.instruments.pointing import airmass_of
assert airmass_of(Site(latitude=30.0, longitude=0.0, height=0.0), 0.0, 90.0, 61000.0) > 1.9
assert "pyarrow.dataset" in sys.modules
"""


def test_a_forked_worker_need_not_read_it_again() -> None:
    """In a process of its own: in this one everything may have been read before."""
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


COMPILING = """
import threading
from nightflow.kernel_cache import are_ready
from nightflow.service import warm_up as module
module.REHEARSAL = {rehearsal}
module.warm_up()
assert threading.active_count() == 1, threading.enumerate()
print(are_ready())
"""
NOTED = (sys.executable, "-c", "from nightflow.kernel_cache import note_ready; note_ready(); print('done')")
REFUSED = (sys.executable, "-c", "raise SystemExit('no room on the disk')")


def warmed_up(tmp_path: Path, rehearsal: tuple[str, ...]) -> str:
    code = "import logging; logging.basicConfig()\n" + COMPILING.format(rehearsal=rehearsal)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def test_kernels_are_compiled_once_before_the_first_frame(tmp_path: Path) -> None:
    """By a process of its own, whose threads are not ours."""
    assert warmed_up(tmp_path, NOTED).splitlines() == ["True"]
    assert warmed_up(tmp_path, REFUSED).splitlines() == ["True"]  # not asked again


def test_a_night_begins_without_kernels_where_they_cannot_be_compiled(tmp_path: Path) -> None:
    said = warmed_up(tmp_path, REFUSED)
    assert "kernels are compiled with the first frames, which take longer: no room on the disk" in said
    assert "False" in said


def test_nothing_is_compiled_for_a_service_that_is_gone(tmp_path: Path) -> None:
    """It would work at full load beside that of the service that is started next."""
    code = "from nightflow.service.warm_up import _compile; _compile()"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    compiling: list[int] = []
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as service:
        try:
            while not compiling:
                assert service.poll() is None
                compiling = rehearsals_of(service.pid)
                time.sleep(0.01)
            service.kill()
            service.wait()
            deadline = time.monotonic() + 30.0
            while is_running(compiling[0]) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not is_running(compiling[0])
        finally:
            service.kill()
            for pid in filter(is_running, compiling):
                os.kill(pid, signal.SIGKILL)


def rehearsals_of(pid: int) -> list[int]:
    """Return those that a process has started and that run already."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, command in commands.items() if b"nightflow.rehearsal" in command]
