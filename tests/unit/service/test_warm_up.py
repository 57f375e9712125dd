"""After it, the first frame reads no table any more; and nothing of it lives on beside the main thread."""

from __future__ import annotations

import subprocess
import sys

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
