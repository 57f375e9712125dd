"""By when a service that was told to stop must have stopped, whatever hangs."""

from __future__ import annotations

import math
import time

__all__ = ["Deadline"]


class Deadline:
    """One time for all that is done at a stop; far away until `set` is called."""

    def __init__(self) -> None:
        self._by = math.inf

    def set(self, seconds: float) -> None:
        """Let it end in so many seconds; only the first call counts."""
        self._by = min(self._by, time.monotonic() + seconds)

    def left(self, at_most: float = math.inf) -> float:
        """Return how long something may last, of so many seconds, before the deadline."""
        return max(min(at_most, self._by - time.monotonic()), 0.0)
