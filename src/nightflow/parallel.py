"""Loops over rows on both cores: for kernels that hold no lock of the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

__all__ = ["THREADS", "in_bands"]

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = min(2, _CORES)
_BANDS = 8
"""More than threads, so that none waits long for the other; as many on every machine."""

T = TypeVar("T")


def in_bands(work: Callable[[int, int], T], length: int) -> list[T]:
    """Call ``work`` with the first row and the one after the last of some bands, and return what it gives.

    Parameters
    ----------
    work : callable
        Releases the interpreter's lock; writes to its own rows only.
    length : int
        Rows, or whatever is counted.

    Returns
    -------
    list
        In the order of the bands.
    """
    edges = np.unique(np.linspace(0, length, _BANDS + 1).astype(int)).tolist()
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, edges[:-1], edges[1:]))
