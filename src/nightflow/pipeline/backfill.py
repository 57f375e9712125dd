"""Which exposures a backfill takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from nightflow.errors import ConfigurationError
from nightflow.instruments.header import FrameKind
from nightflow.nights import night_of
from nightflow.pipeline.optics import Offers
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.register import LookedUp, find_files, look_up, register_all
from nightflow.pipeline.run import in_order
from nightflow.pipeline.run_lease import free_dead_runs
from nightflow.pipeline.unchanged import is_unchanged
from nightflow.store.frames import exposures_with_frames
from nightflow.store.models import Frame, Priority
from nightflow.store.overview import frame_rows
from nightflow.wording import counted

__all__ = ["PLANNED", "PlannedFile", "Selection", "known_nights", "planned_files", "planned_frames", "select"]

PLANNED = ("file", "kind", "object", "filter", "night", "state", "reason")
"""Columns of the list of a backfill that is only a plan."""
_UNKNOWN = {"kind": str(FrameKind.UNKNOWN), "state": "not yet received"}
"""What is said of a file that the ledger does not know."""


class Selection(NamedTuple):
    """What is to be reduced.

    Attributes
    ----------
    exposures : list of int
        Of the ledger, in order.
    unknown : list of str
        Paths of files that would be received; none where they were.
    unchanged : int
        Exposures that were asked for as well, and for which nothing has changed; no duplicates.
    """

    exposures: list[int]
    unknown: list[str]
    unchanged: int = 0

    @property
    def summary(self) -> str:
        """A line about it where it is only a plan."""
        number = len(self.exposures) + len(self.unknown)
        new = f", {len(self.unknown)} of them not yet received" if self.unknown else ""
        left = f"; nothing has changed for {counted(self.unchanged, 'exposure')}" if self.unchanged else ""
        return f"{counted(number, 'exposure')} would be reduced{new}{left}"


class PlannedFile(NamedTuple):
    """A file that would be reduced: what it is, and the states of its frames now."""

    path: str
    kind: str
    state: str


def select(
    reducer: Reducer,
    since: date | None = None,
    until: date | None = None,
    night: date | None = None,
    path: str | None = None,
    force: bool = False,
    *,
    camera: str | None = None,
    dry_run: bool = False,
) -> Selection:
    """Return what is to be reduced again, calibrations first, then lights in order of time; no duplicates.

    Parameters
    ----------
    reducer : Reducer
    since, until : date, optional
        First and last night, by the date of the evening.
    night : date, optional
        This night only.
    path : str, optional
        Only files under this path; those that the ledger does not know are received, but for a dry run.
    force : bool
        Also those for which nothing has changed.
    camera : str, optional
        This camera only, by the name of its profile.
    dry_run : bool
        Receive nothing.

    Raises
    ------
    ConfigurationError
        ``path`` does not exist, or no profile has the name of ``camera``.
    """
    if camera and camera not in (profiles := reducer.context.profiles):
        raise ConfigurationError(
            f"camera {camera!r}: no profile has this name; there are {', '.join(profiles)}"
        )
    # What the last backfill died of may have failed by that: then it is not taken once more.
    free_dead_runs(reducer.database, datetime.now(UTC))
    found = _found(reducer, Path(path), dry_run=dry_run) if path else None
    first, last = (night, night) if night is not None else (since, until)

    def is_asked(frame: Frame | None) -> bool:
        of_camera = not camera or (frame is not None and frame.instrument == camera)
        return of_camera and _is_within(reducer, frame, first, last)

    chosen = [
        exposure_id
        for exposure_id, frame in exposures_with_frames(reducer.database)
        if (found is None or exposure_id in found.exposures) and is_asked(frame)
    ]
    # Of what is not received neither the night nor the camera is known.
    unknown = found.unknown if found is not None and is_asked(None) else []
    worth_it = chosen if force else _changed(reducer, chosen)
    return Selection(in_order(reducer, worth_it), unknown, len(chosen) - len(worth_it))


def _changed(reducer: Reducer, chosen: Sequence[int]) -> list[int]:
    """Return the exposures to which something new would happen."""
    offers = Offers(reducer.database)
    return [one for one in chosen if not is_unchanged(reducer, one, offers)]


def _found(reducer: Reducer, path: Path, *, dry_run: bool) -> LookedUp:
    """Return the exposures under a path; in a dry run with the files of which none was made yet."""
    files = find_files([path])
    if dry_run:
        return look_up(reducer.database, files)
    return LookedUp(set(register_all(reducer.database, files, priority=Priority.BACKFILL)), [])


def planned_frames(reducer: Reducer, chosen: Selection) -> list[dict[str, Any]]:
    """Return one row a frame of what was chosen, with the columns of `PLANNED`, for a person to read."""
    wanted = set(chosen.exposures)
    rows = [row for row in frame_rows(reducer.database) if row["exposure_id"] in wanted]
    rows += [dict.fromkeys(PLANNED) | {"path": path} | _UNKNOWN for path in chosen.unknown]
    return [{"file": Path(row["path"]).name} | {name: row[name] for name in PLANNED[1:]} for row in rows]


def planned_files(reducer: Reducer, chosen: Selection) -> list[PlannedFile]:
    """Return the files of what was chosen, each once, in the order given."""
    frames: dict[int, list[dict[str, Any]]] = {one: [] for one in chosen.exposures}
    for row in frame_rows(reducer.database):
        frames.get(row["exposure_id"], []).append(row)
    known = [
        PlannedFile(rows[0]["path"], rows[0]["kind"], "/".join(sorted({row["state"] for row in rows})))
        for rows in frames.values()
    ]
    return known + [PlannedFile(path, **_UNKNOWN) for path in chosen.unknown]


def known_nights(reducer: Reducer) -> list[str]:
    """Return the nights of the ledger, by the dates of their evenings, in order."""
    frames = (frame for _, frame in exposures_with_frames(reducer.database))
    return sorted({_evening(reducer, one) for one in frames if one is not None and one.mjd_mid is not None})


def _is_within(reducer: Reducer, frame: Frame | None, first: date | None, last: date | None) -> bool:
    """Return whether a frame is of one of the nights; one without a time only where none is asked for."""
    if first is None and last is None:
        return True
    if frame is None or frame.mjd_mid is None:
        return False
    evening = date.fromisoformat(_evening(reducer, frame))
    return (first is None or evening >= first) and (last is None or evening <= last)


def _evening(reducer: Reducer, frame: Frame) -> str:
    """Return the night of a frame that has a time."""
    if frame.night:
        return frame.night
    # A row from before nights were kept has none; its camera's fixed site is the best that is known.
    assert frame.mjd_mid is not None
    profile = reducer.context.profiles.get(frame.instrument)
    site = profile.site if profile is not None else None
    return night_of(frame.mjd_mid, site.longitude if site is not None else None)
