"""The process's own reducer.

A reducer holds pixel arrays, open catalogues and the store's connection: none of that is a parameter of a
task. The live service registers its own before the first run; a plain Prefect worker, which nobody prepared,
makes one from ``NIGHTFLOW_CONFIG`` on first need.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightflow.pipeline.reducer import Reducer

__all__ = ["current_reducer", "use_reducer"]

_lock = threading.Lock()
_reducer: Reducer | None = None


def use_reducer(reducer: Reducer | None) -> None:
    """Let all tasks of this process use ``reducer`` from now on; None forgets it."""
    global _reducer
    with _lock:
        _reducer = reducer


def current_reducer() -> Reducer:
    """Return the reducer of this process, made from the settings where none was registered.

    Raises
    ------
    ConfigurationError
        There is no settings file, or it is wrong.
    """
    global _reducer
    with _lock:
        if _reducer is None:
            _reducer = _reducer_from_settings()
        return _reducer


def _reducer_from_settings() -> Reducer:
    # Imported here: a server that only reads the flows' parameters needs no numba and no astropy.
    from nightflow.config import load_settings
    from nightflow.pipeline.reducer import Reducer

    settings = load_settings()
    watch = settings.watch
    return Reducer(settings, missing_calibration=watch.missing_calibration, products=watch.products)
