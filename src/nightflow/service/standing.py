"""How things stand, for a person at 3 a.m.: is somebody at work, does anything come, does anything wait?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightflow.config import Settings
from nightflow.folders import free_bytes, not_writable
from nightflow.service.instance_lock import lock_holder
from nightflow.service.watching import Watching, duration, watching_of
from nightflow.store.database import Database
from nightflow.store.last_error import last_error
from nightflow.store.models import Exposure, State
from nightflow.store.overview import Waiting, counts, newest_exposure, oldest_waiting, reason_without_path

__all__ = ["Standing", "look_around"]

LITTLE_ROOM = 10e9
"""Bytes; a night of 4k frames with its products takes some tens of gigabytes."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How things stand.

    Attributes
    ----------
    now : datetime
    states : dict
        State -> number of exposures.
    watching : Watching
        Whether a service is at work.
    newest, error : Exposure or None
        Last one received; last one that ended failed, rejected or held.
    oldest : Waiting or None
        The one that waits longest.
    room : int or None
        Bytes free for products; None where the disk cannot be looked at.
    products : Path
        Their folder.
    room_gib : float
        Below which no products are written, `notify.room_gib`.
    unwritten : str or None
        Why no products can be written whatever the room.
    """

    now: datetime
    states: dict[str, int]
    watching: Watching
    newest: Exposure | None
    oldest: Waiting | None
    error: Exposure | None
    room: int | None
    products: Path
    room_gib: float
    unwritten: str | None

    @property
    def is_alive(self) -> bool:
        """Whether a service is at work, see `Watching`."""
        return self.watching.is_alive

    @property
    def queue(self) -> int:
        """How many exposures are queued or in work."""
        return self.states[State.RECEIVED] + self.states[State.REDUCING]

    def as_json(self) -> dict[str, Any]:
        """Return it for other programs; ages in seconds."""
        return {
            "states": self.states,
            "queue": self.queue,
            "last_error": None
            if self.error is None
            else {"path": self.error.path, "state": self.error.state, "reason": self.error.reason},
            "watch": self.watching.as_json(),
            "settings_error": None,
            "store_error": None,
            "last_frame": None
            if self.newest is None
            else {
                "path": self.newest.path,
                "state": self.newest.state,
                "age_s": self._age(self.newest.received_at),
            },
            "oldest_waiting_s": self._waited(),
            "products_free_bytes": self.room,
            "products_written": not self._is_full() and self.unwritten is None,
        }

    def _age(self, moment: datetime) -> float:
        return (self.now - moment).total_seconds()

    def _waited(self) -> float | None:
        """Return for how long the oldest has waited; None where that is not known, or it is not due yet."""
        since = None if self.oldest is None else self.oldest.since
        return None if since is None or since > self.now else self._age(since)

    def lines(self) -> list[str]:
        """Return it in words, the most urgent first."""
        return [
            *self.watching.lines(),
            *self._frames(),
            *self._disk(),
            *self.watching.unreadable_lines(),
            *self._last_error(),
        ]

    def _frames(self) -> list[str]:
        if self.newest is None:
            return ["last frame:  none yet: is `[watch] folders` where frames land? `nightflow doctor` tells"]
        name, ago = Path(self.newest.path).name, duration(self._age(self.newest.received_at))
        lines = [f"last frame:  {name}, {ago} ago, {self.newest.state}"]
        if self.oldest is None:
            return [*lines, "queue:       0, nothing waits"]
        waited, exposure = self._waited(), self.oldest.exposure
        if exposure.state == State.REDUCING:
            waits = "is in work"
        else:
            waits = "is put off" if waited is None else f"has waited for {duration(waited)}"
        return [*lines, f"queue:       {self.queue}; {Path(exposure.path).name} {waits}"]

    def _disk(self) -> list[str]:
        if self.room is None:
            return [f"disk:        {self.products} cannot be looked at: is it mounted?"]
        if self.unwritten is not None:
            return [
                f"disk:        NO PRODUCTS are written: {self.unwritten}; mend its rights or "
                "`[paths] products`, then `nightflow backfill --force` writes those that are missing"
            ]
        low = "; LITTLE ROOM: delete old products" if self.room < LITTLE_ROOM else ""
        if self._is_full():
            low = (
                f"; LITTLE ROOM: below notify.room_gib = {self.room_gib:g} no products are written "
                "(with products.quota in the place of the oldest), delete old ones"
            )
        return [f"disk:        {self.room / 1e9:.1f} GB free for products{low}"]

    def _is_full(self) -> bool:
        return self.room is not None and self.room < self.room_gib * 2**30

    def _last_error(self) -> list[str]:
        if self.error is None:
            return []
        ended = self.error.done_at
        ago = "" if ended is None else f", {duration(self._age(ended))} ago"
        reason = reason_without_path(self.error)
        return [f"last error:  {self.error.path} ({self.error.state}{ago}): {reason}"]


def look_around(settings: Settings, database: Database, now: datetime | None = None) -> Standing:
    """Return how things stand; nothing is changed."""
    products = settings.resolve(settings.paths.products)
    now = now or datetime.now(UTC)
    return Standing(
        now=now,
        states={str(state): number for state, number in counts(database).items()},
        watching=watching_of(settings, lock_holder(database), now),
        newest=newest_exposure(database),
        oldest=oldest_waiting(database),
        error=last_error(database),
        room=free_bytes(products),
        products=products,
        room_gib=settings.notify.room_gib,
        unwritten=_unwritten(products),
    )


def _unwritten(products: Path) -> str | None:
    try:
        return not_writable(products)
    except OSError:
        return None  # neither can the room be looked at, and that is said
