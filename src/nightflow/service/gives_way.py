"""Work on old nights that gives way to the live service of the same machine."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime

from nightflow.errors import NightflowError
from nightflow.pipeline.outcome import Outcome
from nightflow.service.leases import PREFIX
from nightflow.store.database import Database
from nightflow.store.leases import is_live_in_work

__all__ = ["GivesWay", "run_behind"]

log = logging.getLogger(__name__)

NICENESS = 15
"""That of the worker's unit: the live service goes first where both want a core."""
_LONGEST_SECONDS = 2.0
"""That a step waits; beside a camera that leaves no gap a backfill goes on, slowly."""
_PAUSE_SECONDS = 0.05
_SHORT = frozenset({"settle", "conclude"})
"""What holds up nobody: it writes a row or two."""


def run_behind() -> None:
    """Let this process have what the live service leaves of the cores' time."""
    os.nice(NICENESS)


class GivesWay:
    """Waits before a step as long as the live service of this machine has a new frame in work.

    A busy core is left to the service by `run_behind`. Cores share more than that: what the one loads from
    memory comes later, and is out of the caches earlier, where the other works too.

    Parameters
    ----------
    database : Database
    sleep, clock : callable
        As in `time`.
    """

    def __init__(
        self,
        database: Database,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._service = f"{PREFIX}{socket.gethostname()}:"
        self._sleep = sleep
        self._clock = clock

    def began(self, step: str, exposure_id: int, row: int) -> None:
        """Wait, but not for ever, where something more urgent is in work."""
        if step in _SHORT:
            return
        end = self._clock() + _LONGEST_SECONDS
        while self._clock() < end and self._is_in_the_way():
            self._sleep(_PAUSE_SECONDS)

    def ended(self, step: str, exposure_id: int, row: int) -> None:
        """Nothing is waited for after a step."""

    def settled(self, outcome: Outcome) -> None:
        """Nothing is waited for after an exposure."""

    def exhausted(self, step: str, error: MemoryError) -> None:
        """Leave it to the frame to fail."""

    def _is_in_the_way(self) -> bool:
        try:
            return is_live_in_work(self._database, self._service, datetime.now(UTC))
        except NightflowError as error:  # the step says it, where it needs the store
            log.debug("not known whether a new frame is in work: %s", error)
            return False
