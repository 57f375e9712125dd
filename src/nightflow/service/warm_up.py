"""What would otherwise be read and imported with a worker's first frame: seconds that no live frame has.

Called once, in the process from which workers are forked; it must begin no thread. Compiled kernels are not
among it: numba's cache on the disk gives a worker each of them in some hundredths of a second.
"""

from __future__ import annotations

import importlib
import logging

from PIL import Image

from nightflow.instruments.header import Site
from nightflow.instruments.pointing import airmass_of

__all__ = ["warm_up"]

log = logging.getLogger(__name__)

LATE = ("pyarrow.dataset", "pyarrow.pandas_compat", "pandas")
"""What pyarrow imports by itself when it reads the first tile of a catalogue; pandas need not be there."""


def warm_up() -> None:
    """Import what is late, and read the tables of the Earth's rotation; nothing that fails matters here."""
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
