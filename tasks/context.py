"""The process's own reducers: one for the night, one for batches.

A reducer holds pixel arrays, open catalogues and the store's connection: none of that is a parameter of a
task. The live service registers its own before the first run; a plain Prefect worker, which nobody prepared,
makes one from ``NIGHTFLOW_CONFIG`` on first need.

What works on frames that are all there (backfill, masters) does so inside `batch_reduction`: with definitive
masters and the settings of ``run``, as the command line does. Else a dawn flat would be better than what the
evening's lights were reduced with, and no backfill would see it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from nightflow.heap import give_back_freed_memory, keep_freed_memory

if TYPE_CHECKING:
    from nightflow.pipeline.reducer import Reducer

__all__ = ["batch_reduction", "current_reducer", "use_reducer"]

_lock = threading.Lock()
_reducers: dict[bool, Reducer] = {}
_in_batch: ContextVar[bool] = ContextVar("in_batch", default=False)


def use_reducer(reducer: Reducer | None) -> None:
    """Let the tasks of this process outside of batches use ``reducer`` from now on; None forgets all."""
    with _lock:
        if reducer is None:
            _reducers.clear()
        else:
            _reducers[False] = reducer


@contextmanager
def batch_reduction() -> Iterator[None]:
    """Let what is called inside, tasks and flows too, use a reducer with definitive masters.

    At its end freed memory goes back to the kernel: a worker of a cluster is idle then, perhaps for days, and
    is given nothing any more while it seems to be full.
    """
    token = _in_batch.set(True)
    try:
        yield
    finally:
        _in_batch.reset(token)
        give_back_freed_memory()


def current_reducer() -> Reducer:
    """Return this process's reducer for the night or for a batch, made from the settings where it has none.

    Raises
    ------
    ConfigurationError
        There is no settings file, or it is wrong.
    """
    in_batch = _in_batch.get()
    with _lock:
        if in_batch not in _reducers:
            _reducers[in_batch] = _reducer_from_settings(in_batch)
        return _reducers[in_batch]


def _reducer_from_settings(in_batch: bool) -> Reducer:
    # Imported here: a server that only reads the flows' parameters needs no numba and no astropy.
    from nightflow.config import load_settings
    from nightflow.offline import stay_offline
    from nightflow.pipeline.reducer import Reducer
    from nightflow.service.gives_way import GivesWay
    from nightflow.store.database import Database

    stay_offline()
    keep_freed_memory()
    settings = load_settings()
    section = settings.run if in_batch else settings.watch
    return Reducer(
        settings,
        missing_calibration=section.missing_calibration,
        products=section.products,
        definitive_masters=in_batch,
        observer=GivesWay(Database(settings.store_url)) if in_batch else None,
    )
