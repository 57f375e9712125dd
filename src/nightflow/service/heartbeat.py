"""A sign of life: a small file beside the settings, that `nightflow status` reads.

The ledger tells what became of each exposure; what has no row yet, because it lands or cannot be read, and
whether anybody is at work, only the service itself knows.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from nightflow.service.process_mark import own_mark

__all__ = ["Heartbeat", "beat", "forget_beat", "heartbeat_file", "last_beat"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """What a service says of itself.

    Attributes
    ----------
    process : int
    at : str
        When, ISO 8601 in UTC.
    in_work, landing : int
        Exposures that are reduced, and files that are not yet finished.
    unreadable : sequence of str
        Why each file that cannot be read cannot.
    hanging : mapping of str to float
        Watched folders that do not answer, and for how many seconds.
    unlisted : mapping of str to str
        Watched folders that cannot be listed, and why.
    folders : int
        How many are watched.
    sensor_alive : bool
        Somebody looks after them.
    mark : str
        Of the process, see `nightflow.service.process_mark`.
    ledger : str
        That it works on, see `nightflow.service.leases.service_tag`; "" where it does not say.
    """

    process: int
    at: str
    in_work: int
    landing: int
    unreadable: Sequence[str] = ()
    hanging: Mapping[str, float] = field(default_factory=dict)
    unlisted: Mapping[str, str] = field(default_factory=dict)
    folders: int = 0
    sensor_alive: bool = True
    mark: str = ""
    ledger: str = ""

    @property
    def takes_frames(self) -> bool:
        """Whether something is taken from at least one folder."""
        return self.sensor_alive and not 0 < self.folders <= len({*self.hanging, *self.unlisted})

    def age(self, now: datetime) -> float:
        """Return how long ago that was, in seconds."""
        return (now - datetime.fromisoformat(self.at)).total_seconds()


def heartbeat_file(settings_file: Path) -> Path:
    """Return where the service of a settings file writes."""
    return settings_file.with_suffix(".watch.json")


def beat(
    path: Path,
    *,
    now: datetime,
    in_work: int,
    landing: int,
    unreadable: Sequence[str] = (),
    hanging: Mapping[str, float] | None = None,
    unlisted: Mapping[str, str] | None = None,
    folders: int = 0,
    sensor_alive: bool = True,
    ledger: str = "",
) -> None:
    """Write a sign of life; a disk that is full or away is no reason to stop."""
    sign = Heartbeat(
        process=os.getpid(),
        at=now.isoformat(timespec="seconds"),
        in_work=in_work,
        landing=landing,
        unreadable=list(unreadable),
        hanging=dict(hanging or {}),
        unlisted=dict(unlisted or {}),
        folders=folders,
        sensor_alive=sensor_alive,
        mark=own_mark(),
        ledger=ledger,
    )
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(json.dumps(asdict(sign)))
        temporary.replace(path)
    except OSError as error:
        log.debug("no sign of life: %s", error)


def last_beat(path: Path) -> Heartbeat | None:
    """Return the last sign of life; None where there is none that can be read."""
    try:
        sign = Heartbeat(**json.loads(path.read_text()))
        datetime.fromisoformat(sign.at)
    except (OSError, ValueError, TypeError):
        return None
    return sign


def forget_beat(path: Path) -> None:
    """Remove the sign of life: its service ends, or has been killed."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
