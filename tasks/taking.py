"""Leases that are taken in a thread for a call that may be cancelled meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["taken_in_thread"]

_T = TypeVar("_T")


async def taken_in_thread(take: Callable[[], _T | None], give_back: Callable[[_T], object]) -> _T | None:
    """Return what is taken in a thread; where the call is cancelled before that has come here, give it back.

    A thread goes on after a cancel: what it takes nobody would have, as long as this process lives.

    Parameters
    ----------
    take : callable
        Returns what it has taken, or None.
    give_back : callable
        Is given that; in the thread, or in this one where it was taken already.
    """
    lock, cancelled = threading.Lock(), False
    taken: _T | None = None

    def work() -> _T | None:
        nonlocal taken
        found = take()
        with lock:
            if not cancelled:
                taken = found
                return found
        if found is not None:
            give_back(found)
        return None

    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        with lock:
            cancelled = True
        if taken is not None:
            give_back(taken)
        raise
