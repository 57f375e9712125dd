"""How a live service is: at work, hanging, dead; by its lock and its signs of life."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nightflow.config import Settings
from nightflow.service.heartbeat import Heartbeat, heartbeat_file, last_beat
from nightflow.service.leases import service_tag
from nightflow.service.process_mark import is_gone, is_there

__all__ = ["Watching", "duration", "watching_by_its_sign", "watching_of"]

HANGS_AFTER = 60.0
"""Seconds without a sign of life, which comes every five."""
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Watching:
    """How a live service is.

    Attributes
    ----------
    now : datetime
    holder : str or None
        Who holds the service's lock; None where no service runs.
    sign : Heartbeat or None
        The last sign of life of a service on this machine; of the one that has the ledger, where one has.
    other_ledger : bool
        It runs, but on another ledger than the settings name now.
    unlocked : bool
        It runs, but nobody holds the lock of its ledger.
    """

    now: datetime
    holder: str | None
    sign: Heartbeat | None
    other_ledger: bool = False
    unlocked: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether a service is at work.

        It has a ledger, and where its signs of life can be read, it gives some and takes frames from at
        least one folder.
        """
        if self.holder is None or self.sign is None:
            return self.holder is not None
        return not self._is_quiet and self.sign.takes_frames

    def as_json(self) -> dict[str, Any]:
        """Return it for other programs; ages in seconds."""
        sign = self.sign
        return {
            "running": self.holder is not None,
            "holder": self.holder,
            "other_ledger": self.other_ledger,
            "last_sign_s": None if sign is None else sign.age(self.now),
            "in_work": None if sign is None else sign.in_work,
            "landing": None if sign is None else sign.landing,
            "unreadable": [] if sign is None else list(sign.unreadable),
            "hanging": {} if sign is None else dict(sign.hanging),
            "unlisted": {} if sign is None else dict(sign.unlisted),
            "sensor_alive": None if sign is None else sign.sensor_alive,
        }

    def lines(self) -> list[str]:
        """Return in words whether it is at work, and which folders nothing is taken from."""
        return [*self._watch(), *self._ledger(), *self._sensor(), *self._hanging(), *self._unlisted()]

    def unreadable_lines(self) -> list[str]:
        """Return the first files that cannot be read, and why."""
        unreadable = [] if self.sign is None or self.holder is None else self.sign.unreadable
        lines = [f"unreadable:  {reason}: look at its owner and rights" for reason in unreadable[:_NAMED]]
        if len(unreadable) > _NAMED:
            lines.append(f"unreadable:  and {len(unreadable) - _NAMED} more")
        return lines

    @property
    def _is_quiet(self) -> bool:
        return self.sign is not None and self.sign.age(self.now) > HANGS_AFTER

    def _watch(self) -> list[str]:
        sign = self.sign
        if self.holder is None:
            ended = "" if sign is None else f"; its last sign was {duration(sign.age(self.now))} ago, it died"
            return [f"watch:       NOT RUNNING{ended}: start it with `nightflow watch`"]
        if sign is None:
            return [f"watch:       running ({self.holder})"]
        if self._is_quiet:
            quiet = duration(sign.age(self.now))
            return [f"watch:       no sign of life for {quiet}, although {self.holder} is there: it hangs"]
        return [f"watch:       running ({self.holder}); {sign.in_work} in work, {sign.landing} landing"]

    def _ledger(self) -> list[str]:
        if self.unlocked and not self._is_quiet:  # one that hangs takes nothing again
            return [
                "ledger:      nobody holds its lock; the watcher takes it again, or stops if another has it"
            ]
        if not self.other_ledger:
            return []
        return [
            "ledger:      the watcher is on another one than `[store] url` names now, which counts from the "
            "next start on: states, frames and queue told here are those of the new one"
        ]

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

    def _unlisted(self) -> list[str]:
        if self.sign is None or self.holder is None:
            return []
        return [
            f"folder:      {folder}: {fault}; nothing is taken from there: make or mount it, or mend its "
            "rights or `[watch] folders`"
            for folder, fault in self.sign.unlisted.items()
            if folder not in self.sign.hanging
        ]


def watching_of(settings: Settings, holder: str | None, now: datetime) -> Watching:
    """Return how the service of a settings file is.

    Parameters
    ----------
    settings : Settings
        As they are now.
    holder : str or None
        Who holds the lock of the ledger that the settings name.
    now : datetime
        Aware.
    """
    sign = last_beat(heartbeat_file(settings.file))
    if holder is None and sign is not None and is_there(sign.mark):
        elsewhere = sign.ledger != service_tag(settings.store_url)
        return Watching(
            now=now, holder=_by_its_sign(sign), sign=sign, other_ledger=elsewhere, unlocked=not elsewhere
        )
    if holder is not None and sign is not None and is_gone(sign.mark):
        sign = None  # of a service that was killed; the one that has the ledger now has given none yet
    return Watching(now=now, holder=holder, sign=sign)


def watching_by_its_sign(settings_file: Path, now: datetime) -> Watching | None:
    """Return how the service of a settings file is, by its signs of life alone; None where it gives none.

    For where the settings or the store that they name cannot be read, so that nobody can look at its lock.
    """
    sign = last_beat(heartbeat_file(settings_file))
    if sign is None:
        return None
    return Watching(now=now, holder=None if is_gone(sign.mark) else _by_its_sign(sign), sign=sign)


def _by_its_sign(sign: Heartbeat) -> str:
    return f"process {sign.process} by its sign"


def duration(seconds: float) -> str:
    """Return a time in the unit that a person would use."""
    for size, name in ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= size:
            number = int(seconds / size)
            return f"{number} {name}{'s' if number > 1 else ''}"
    return f"{max(seconds, 0.0):.0f} seconds"
