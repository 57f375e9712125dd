"""Whose turn it is where live exposures leave no gap: now and then one that has waited for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from nightflow.store.models import Exposure, Priority

__all__ = ["PATIENCE", "Turns"]

PATIENCE = timedelta(minutes=10)
"""An exposure that has waited so long, while no other of its kind was taken, goes before live ones."""


class Turns:
    """Remembers when an exposure that was not live was taken last.

    A night with gaps between its frames works a backfill off in them, and a live frame finds at most the one
    in work before it. A camera that is faster than we are leaves none: then one in ten minutes is let in,
    which costs the live ones a part in some hundreds.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def patient(self, now: datetime) -> datetime | None:
        """Return since when an exposure must have waited to go before live ones now; None: none may.

        Parameters
        ----------
        now : datetime
            Aware, of the clock on the wall.
        """
        return now - PATIENCE if self._clock() - self._last >= PATIENCE.total_seconds() else None

    def taken(self, exposure: Exposure) -> None:
        """Take note that an exposure was leased."""
        if exposure.priority >= Priority.REDO:
            self._last = self._clock()
