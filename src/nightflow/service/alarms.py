"""What a person should be woken for: frames that fail, a night without frames, clouds or frost, a full disk.

Looked at from time to time, from the ledger alone: what is told is what happened since the last look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from nightflow.config import Settings
from nightflow.epochs import mjd_of
from nightflow.folders import free_bytes
from nightflow.printable import printable
from nightflow.sensor.answers import Disks
from nightflow.store.database import Database
from nightflow.store.overview import (
    RecentZeroPoint,
    failed_since,
    newest_exposure,
    reason_without_path,
    zero_points_since,
)
from nightflow.sun import DARK, sun_altitude

__all__ = ["Alarms"]

_HOURS = 3.0
"""Of zero points that a new one is compared with."""
_FEWEST = 5
"""Zero points that tell what is usual."""
_NAMED = 3
ROOM_SECONDS = 5.0
"""How long a disk may take to say what room it has; one that is away is none that is full."""
_LATE = timedelta(minutes=2)
"""How long after its moment a failure may come into the ledger: the store may be locked for 30 s."""


class Alarms:
    """Looks at ledger, clock and disks, and tells what is wrong.

    Parameters
    ----------
    settings : Settings
    database : Database
        The ledger.
    tell : callable
        Gets the kind of event and a text for a person.
    now : datetime
        What happened before is not told.
    """

    def __init__(
        self, settings: Settings, database: Database, tell: Callable[[str, str], None], now: datetime
    ) -> None:
        self._settings = settings
        self._database = database
        self._tell = tell
        self._began = self._last = now
        self._told_failures: set[tuple[int | None, datetime | None]] = set()
        """Exposures that failed in the last minutes, and when."""
        self._missed = False
        self._low: set[Path] = set()
        self._disks: defaultdict[Path, Disks] = defaultdict(Disks)
        """One for each folder: one that hangs keeps nobody from looking at its neighbour."""
        self._told_zero_points: set[int] = set()

    def use(self, settings: Settings) -> None:
        """Look by other settings from now on."""
        self._settings = settings

    def look(self, now: datetime) -> None:
        """Tell what has happened since the last look.

        Raises
        ------
        RetryLater
            The store is away.
        """
        self._failed(now)
        self._no_frames(now)
        self._zero_points(now)
        self._room()

    def _failed(self, now: datetime) -> None:
        recent = failed_since(self._database, max(self._began, self._last - _LATE))
        failed = [one for one in recent if (one.id, one.done_at) not in self._told_failures]
        self._told_failures = {(one.id, one.done_at) for one in recent}
        self._last = now
        if not failed:
            return
        lines = [printable(f"{one.path}: {_first_line(reason_without_path(one))}") for one in failed[:_NAMED]]
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        count = "a frame" if len(failed) == 1 else f"{len(failed)} frames"
        self._tell(
            "failed_frames", f"{count} failed; `nightflow explain` says why:\n" + "\n".join(lines) + more
        )

    def _no_frames(self, now: datetime) -> None:
        site, limit = self._settings.site, self._settings.notify.no_frame_minutes
        if site is None:
            return
        newest = newest_exposure(self._database)
        since = self._began if newest is None else max(newest.received_at, self._began)
        missed = now - since >= timedelta(minutes=limit) and self._was_dark(since, now)
        if missed and not self._missed:
            name = "none yet" if newest is None else f"the last is {Path(newest.path).name}"
            self._tell(
                "no_frames",
                f"no frame for {limit:.0f} minutes, and it is dark; {name}. Telescope, camera, network disk: "
                "`nightflow status` shows the watcher's side",
            )
        self._missed = missed

    def _was_dark(self, since: datetime, now: datetime) -> bool:
        """Return whether it has been dark for as long as frames are missed."""
        site = self._settings.site
        assert site is not None
        begin = max(since, now - timedelta(minutes=self._settings.notify.no_frame_minutes))
        times = np.array([mjd_of(begin), mjd_of(now)])
        return bool((sun_altitude(site.latitude, site.longitude, times, site.height) < DARK).all())

    def _zero_points(self, now: datetime) -> None:
        recent = zero_points_since(self._database, now - timedelta(hours=_HOURS))
        groups: dict[tuple[str, str, str], list[RecentZeroPoint]] = {}
        for one in recent:
            groups.setdefault((one.instrument, one.detector, one.filter), []).append(one)
        for (instrument, detector, name), rows in groups.items():
            last = rows[-1]
            usual = float(np.median([one.zp for one in rows[:-1]])) if len(rows) > _FEWEST else None
            if usual is None or last.made_at < self._began or last.reduction_id in self._told_zero_points:
                continue
            if usual - last.zp >= self._settings.notify.zero_point_fall:
                self._told_zero_points.add(last.reduction_id)
                where = f"{instrument} {detector} {name}".replace("  ", " ")
                self._tell(
                    "zero_point",
                    f"{where}: the zero point fell by {usual - last.zp:.2f} mag to {last.zp:.2f} "
                    f"({Path(last.path).name}): clouds, dew, a filter that did not move",
                )

    def _room(self) -> None:
        settings = self._settings
        folders = {settings.resolve(settings.paths.products), settings.root}
        for folder in sorted(folders):
            free = self._disks[folder].look(
                folder, partial(free_bytes, folder), otherwise=None, seconds=ROOM_SECONDS
            )
            low = free is not None and free < settings.notify.room_gib * 2**30
            if low and folder not in self._low:
                self._tell(
                    "little_room",
                    f"{folder}: {(free or 0) / 2**30:.1f} GiB left, notify.room_gib = "
                    f"{settings.notify.room_gib:g}: no products are written on such a disk, with "
                    "products.quota only in the place of the oldest; delete old ones before the store cannot "
                    "be written (`nightflow backfill --force` writes them again)",
                )
            (self._low.add if low else self._low.discard)(folder)


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason"
