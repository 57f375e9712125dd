"""More frames than can be shown: runs are there to look at, and no frame waits long for them."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

__all__ = ["Pace"]

log = logging.getLogger(__name__)

IN_A_ROW = 3
"""Frames that say the same, one after the other: a single one may be chance, or have been held."""
LATE_SECONDS = 120.0
"""After which frames have waited too long for a worker, however quick the Prefect server is. So long without
any frame, and what was known of those before says nothing of the next."""
SLOW_SECONDS = 1.0
"""That a frame may lose to being shown, twice what it may cost with a server that keeps up."""
SOON_SECONDS = 3.0
"""That frames may wait where the server is slower than that."""
ON_TIME_SECONDS = 30.0
"""That they may wait where it is quick, to be on time again."""
SAMPLE = 10
"""Late frames that go without a run before one is shown: only that tells whether the server is still slow."""


class Pace:
    """Decides which live frames are shown as runs: all of them, unless they are late.

    Late ones are reduced without a run until they are on time again, and listed by the catch-up run.

    Parameters
    ----------
    clock : callable
        Seconds, that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        """When a frame was asked for last."""
        self._lost: deque[float] = deque(maxlen=IN_A_ROW)
        self._waited: deque[float] = deque(maxlen=IN_A_ROW)
        self._late = False
        self._without = 0
        """Frames since the last one that was shown."""

    def lost(self, seconds: float) -> None:
        """Take note of what a frame lost to being shown: its run was made and begun meanwhile [s]."""
        self._lost.append(seconds)

    def shows(self, waited: float) -> bool:
        """Return whether a live frame is shown that has waited so long for a worker [s]."""
        self._mind_a_lull()
        self._waited.append(waited)
        self._mind_the_queue()
        if self._late and self._without < SAMPLE:
            self._without += 1
            return False
        self._without = 0
        return True

    def _mind_a_lull(self) -> None:
        before, self._last = self._last, self._clock()
        if self._last - before > LATE_SECONDS:
            self._waited.clear()
            self._be_on_time()

    def _mind_the_queue(self) -> None:
        slow = _least(self._lost) > SLOW_SECONDS
        may_wait, on_time = (SOON_SECONDS, SOON_SECONDS) if slow else (LATE_SECONDS, ON_TIME_SECONDS)
        if not self._late and _least(self._waited) > may_wait:
            self._late = True
            log.warning(
                "frames wait for %.0f s, and lose %.1f s each to being shown by the Prefect server: they are "
                "reduced without runs until they are on time again, and listed by a catch-up run",
                _least(self._waited),
                _least(self._lost),
            )
        elif max(self._waited) <= on_time:
            self._be_on_time()

    def _be_on_time(self) -> None:
        if self._late:
            self._late = False
            log.info("frames are on time again, and all shown by the Prefect server")


def _least(seconds: deque[float]) -> float:
    """Return the least of the last few; 0 while there are fewer."""
    return min(seconds) if len(seconds) == IN_A_ROW else 0.0
