"""Exposures that are held for a WCS or a camera profile, taken up again when there is something new for them.

What is held for a calibration is woken by the frames that come (`nightflow.pipeline.waiting`), what is held
for something outside by the clock.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from nightflow.pipeline.reducer import Reducer
from nightflow.store.ledger import Held, held_exposures, requeue
from nightflow.store.models import Priority, State

__all__ = ["HeldAgain"]

log = logging.getLogger(__name__)

SOLVED_AGAIN = timedelta(days=14)
"""Since they were received: clouds leave many that no catalogue helps, and each try takes its time."""


class HeldAgain:
    """The live service's look at what is held: queued again where profiles, settings, software, catalogues or
    index files are not those of its last try.

    Parameters
    ----------
    reducer : Reducer
        Whose profiles and settings count.
    """

    def __init__(self, reducer: Reducer) -> None:
        self._reducer = reducer
        self._queued: set[tuple[int, str]] = set()

    def queue(self, now: datetime) -> int:
        """Queue what may fare better now; return how many exposures.

        None is queued twice for the same, whatever a worker with other profiles makes of it.
        """
        return self._queue("profile", None, now) + self._queue("wcs", now - SOLVED_AGAIN, now)

    def _queue(self, waits_for: str, since: datetime | None, now: datetime) -> int:
        database = self._reducer.database
        held = held_exposures(database, waits_for, since)
        cameras = {one.instrument for one in held}
        fingerprints = {name: self._reducer.fingerprints.sky(name) for name in cameras}
        marks = {
            (one.exposure_id, fingerprints[one.instrument])
            for one in held
            if _sky(one) != fingerprints[one.instrument]
        } - self._queued
        if not marks:
            return 0
        ids = [exposure_id for exposure_id, _ in sorted(marks)]
        queued = len(
            requeue(database, ids, states=[State.HELD], waits_for=waits_for, priority=Priority.REDO, now=now)
        )
        self._queued |= marks
        log.info("%d exposures held for a %s are queued: there is something new for them", queued, waits_for)
        return queued


def _sky(held: Held) -> str:
    """Return the last part of what `Fingerprints.conclusion` says of a held exposure."""
    return held.plan_fingerprint.rpartition(":")[2]
