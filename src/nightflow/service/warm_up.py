"""What would otherwise be read, imported and compiled with a worker's first frame, which has no time for it.

Called once, in the process from which workers are forked; it must begin no thread. So kernels are compiled by
a process of their own, and only where numba's cache has not got them, after an upgrade: from there a worker
has each of them in some hundredths of a second.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys

from PIL import Image

from nightflow.external import ProgramError, run_bounded
from nightflow.instruments.header import Site
from nightflow.instruments.pointing import airmass_of
from nightflow.kernel_cache import are_ready

__all__ = ["warm_up"]

log = logging.getLogger(__name__)

LATE = ("pyarrow.dataset", "pyarrow.pandas_compat", "pandas")
"""What pyarrow imports by itself when it reads the first tile of a catalogue; pandas need not be there."""

REHEARSAL = (sys.executable, "-m", "nightflow.rehearsal")
COMPILE_SECONDS = 120.0
"""What is compiled then is kept; the rest comes with the first frames."""


def warm_up() -> None:
    """Do what is done once; nothing that fails matters here."""
    _import_and_read()
    _compile()


def _import_and_read() -> None:
    """Import what is late, and read the tables of the Earth's rotation."""
    for module in LATE:
        try:
            importlib.import_module(module)
        except ImportError as error:
            log.debug("not warm: %s", error)
    Image.init()
    try:
        airmass_of(Site(latitude=0.0, longitude=0.0, height=0.0), 0.0, 0.0, 61000.0)
    except Exception:  # the first frame will say it
        log.debug("not warm: the tables of the Earth's rotation", exc_info=True)


def _compile() -> None:
    """Fill numba's cache, where that was not done yet for this program on this machine.

    The process that does it has a session of its own, and a service that stops ends us by SIGKILL: told our
    number, it ends with us.
    """
    if are_ready():
        return
    log.info("kernels are compiled, once for this version of nightflow: it takes up to two minutes")
    try:
        ended = run_bounded((*REHEARSAL, str(os.getpid())), seconds=COMPILE_SECONDS)
    except ProgramError as error:
        log.warning("kernels are compiled with the first frames, which take longer: %s", error)
        return
    if ended.status:
        log.warning("kernels are compiled with the first frames, which take longer: %s", ended.last_words)
