"""How things stand, for a person at 3 a.m.: is somebody at work, does anything come, does anything wait?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightflow.config import Settings
from nightflow.folders import free_bytes
from nightflow.service.heartbeat import Heartbeat, heartbeat_file, last_beat
from nightflow.service.instance_lock import lock_holder
from nightflow.service.process_mark import is_gone
from nightflow.store.database import Database
from nightflow.store.models import Exposure, State
from nightflow.store.overview import counts, last_error, newest_exposure, oldest_waiting

__all__ = ["Standing", "duration", "look_around"]

HANGS_AFTER = 60.0
"""Seconds without a sign of life, which comes every five."""
LITTLE_ROOM = 10e9
"""Bytes; a night of 4k frames with its products takes some tens of gigabytes."""
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How things stand.

    Attributes
    ----------
    now : datetime
    states : dict
        State -> number of exposures.
    holder : str or None
        Who holds the service's lock; None where no service runs.
    sign : Heartbeat or None
        The last sign of life of a service on this machine; of the one that has the ledger, where one has.
    newest, oldest, error : Exposure or None
        Last one received; the one that waits longest; last one that ended failed, rejected or held.
    room : int or None
        Bytes free for products; None where the disk cannot be looked at.
    products : Path
        Their folder.
    room_gib : float
        Below which no products are written, `notify.room_gib`.
    """

    now: datetime
    states: dict[str, int]
    holder: str | None
    sign: Heartbeat | None
    newest: Exposure | None
    oldest: Exposure | None
    error: Exposure | None
    room: int | None
    products: Path
    room_gib: float

    @property
    def is_alive(self) -> bool:
        """Whether a service is at work.

        It has the ledger, and where its signs of life can be read, it gives some and takes frames from at
        least one folder.
        """
        if self.holder is None or self.sign is None:
            return self.holder is not None
        return self.sign.age(self.now) <= HANGS_AFTER and self.sign.takes_frames

    @property
    def queue(self) -> int:
        """How many exposures are queued or in work."""
        return self.states[State.RECEIVED] + self.states[State.REDUCING]

    def as_json(self) -> dict[str, Any]:
        """Return it for other programs; ages in seconds."""
        sign = self.sign
        return {
            "states": self.states,
            "queue": self.queue,
            "last_error": None
            if self.error is None
            else {"path": self.error.path, "state": self.error.state, "reason": self.error.reason},
            "watch": {
                "running": self.holder is not None,
                "holder": self.holder,
                "last_sign_s": None if sign is None else sign.age(self.now),
                "in_work": None if sign is None else sign.in_work,
                "landing": None if sign is None else sign.landing,
                "unreadable": [] if sign is None else list(sign.unreadable),
                "hanging": {} if sign is None else dict(sign.hanging),
                "sensor_alive": None if sign is None else sign.sensor_alive,
            },
            "last_frame": None
            if self.newest is None
            else {"path": self.newest.path, "state": self.newest.state, "age_s": self._age(self.newest)},
            "oldest_waiting_s": None if self.oldest is None else self._age(self.oldest),
            "products_free_bytes": self.room,
            "products_written": not self._is_full(),
        }

    def _age(self, exposure: Exposure) -> float:
        return (self.now - exposure.received_at).total_seconds()

    def lines(self) -> list[str]:
        """Return it in words, the most urgent first."""
        return [
            *self._watch(),
            *self._sensor(),
            *self._hanging(),
            *self._frames(),
            *self._disk(),
            *self._trouble(),
        ]

    def _watch(self) -> list[str]:
        sign = self.sign
        if self.holder is None:
            ended = "" if sign is None else f"; its last sign was {duration(sign.age(self.now))} ago, it died"
            return [f"watch:       NOT RUNNING{ended}: start it with `nightflow watch`"]
        if sign is None:
            return [f"watch:       running ({self.holder})"]
        if sign.age(self.now) > HANGS_AFTER:
            quiet = duration(sign.age(self.now))
            return [
                f"watch:       no sign of life for {quiet}, although {self.holder} holds the ledger: it hangs"
            ]
        return [f"watch:       running ({self.holder}); {sign.in_work} in work, {sign.landing} landing"]

    def _sensor(self) -> list[str]:
        if self.sign is None or self.holder is None or self.sign.sensor_alive:
            return []
        return ["sensor:      NOT RUNNING, nothing is taken from any folder: start `nightflow watch` again"]

    def _hanging(self) -> list[str]:
        hanging = {} if self.sign is None or self.holder is None else self.sign.hanging
        return [
            f"hangs:       {folder} has not answered for {duration(seconds)}, nothing is taken from there: "
            "is its disk or server away?"
            for folder, seconds in hanging.items()
        ]

    def _frames(self) -> list[str]:
        if self.newest is None:
            return ["last frame:  none yet: is `[watch] folders` where frames land? `nightflow doctor` tells"]
        name, ago = Path(self.newest.path).name, duration(self._age(self.newest))
        lines = [f"last frame:  {name}, {ago} ago, {self.newest.state}"]
        if self.oldest is None:
            return [*lines, "queue:       0, nothing waits"]
        waits = f"{Path(self.oldest.path).name} has waited for {duration(self._age(self.oldest))}"
        return [*lines, f"queue:       {self.queue}; {waits}"]

    def _disk(self) -> list[str]:
        if self.room is None:
            return [f"disk:        {self.products} cannot be looked at: is it mounted?"]
        low = "; LITTLE ROOM: delete old products" if self.room < LITTLE_ROOM else ""
        if self._is_full():
            low = (
                f"; LITTLE ROOM: below notify.room_gib = {self.room_gib:g} no products are written "
                "(with products.quota in the place of the oldest), delete old ones"
            )
        return [f"disk:        {self.room / 1e9:.1f} GB free for products{low}"]

    def _is_full(self) -> bool:
        return self.room is not None and self.room < self.room_gib * 2**30

    def _trouble(self) -> list[str]:
        lines = []
        unreadable = [] if self.sign is None or self.holder is None else self.sign.unreadable
        for reason in unreadable[:_NAMED]:
            lines.append(f"unreadable:  {reason}: look at its owner and rights")
        if len(unreadable) > _NAMED:
            lines.append(f"unreadable:  and {len(unreadable) - _NAMED} more")
        if self.error is not None:
            ended = self.error.done_at
            ago = "" if ended is None else f", {duration((self.now - ended).total_seconds())} ago"
            lines.append(f"last error:  {self.error.path} ({self.error.state}{ago}): {self.error.reason}")
        return lines


def look_around(settings: Settings, database: Database, now: datetime | None = None) -> Standing:
    """Return how things stand; nothing is changed."""
    products = settings.resolve(settings.paths.products)
    holder, sign = lock_holder(database), last_beat(heartbeat_file(settings.root))
    if holder is not None and sign is not None and is_gone(sign.mark):
        sign = None  # of a service that was killed; the one that has the ledger now has given none yet
    return Standing(
        now=now or datetime.now(UTC),
        states={str(state): number for state, number in counts(database).items()},
        holder=holder,
        sign=sign,
        newest=newest_exposure(database),
        oldest=oldest_waiting(database),
        error=last_error(database),
        room=free_bytes(products),
        products=products,
        room_gib=settings.notify.room_gib,
    )


def duration(seconds: float) -> str:
    """Return a time in the unit that a person would use."""
    for size, name in ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= size:
            number = int(seconds / size)
            return f"{number} {name}{'s' if number > 1 else ''}"
    return f"{max(seconds, 0.0):.0f} seconds"
