"""Which frames a new, an approved or a rejected master touches, and putting them into the queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache, partial

from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.master_plan import MasterPlan, wanted_kinds
from nightflow.pipeline.night_block import night_is_over
from nightflow.pipeline.obtain import obtain, plan_for
from nightflow.pipeline.survey import AWAY
from nightflow.pipeline.work import Context
from nightflow.store.blocks import ReducedLight, last_received, reduced_lights
from nightflow.store.database import Database
from nightflow.store.ledger import requeue
from nightflow.store.masters import calibration_frames, masters
from nightflow.store.models import Frame, Master, Priority, State

__all__ = ["BetterMasters", "better_masters", "touched_by", "users_of"]

RECENT = timedelta(days=3)
"""How far back the live service looks for frames that a dawn's calibrations touch; `finish` has no limit."""


def users_of(database: Database, master: Master) -> list[int]:
    """Return the exposures whose current reductions used a master, or one that was made with it."""
    rows = masters(database, instrument=master.instrument)
    spoiled = {row.fingerprint for row in rows if master.fingerprint in row.made_with.values()} | {
        master.fingerprint
    }
    lights = reduced_lights(database, instrument=master.instrument)
    return _exposures(light for light in lights if spoiled & set(light[1].masters.values()))


def touched_by(context: Context, master: Master) -> list[int]:
    """Return the exposures that would be reduced with a master if they were reduced now, and were not.

    Lights of a night that still goes on keep what their block has, so they are not among them.
    """
    kind = FrameKind(master.kind)
    touched = []
    for frame, reduction in reduced_lights(context.database, instrument=master.instrument):
        if frame.detector != master.detector or reduction.masters.get(master.kind) == master.fingerprint:
            continue
        if kind not in wanted_kinds(context.profiles[frame.instrument], frame.steps_done.split()):
            continue
        plan = _planned(context, kind, frame)
        if plan is not None and plan.fingerprint == master.fingerprint:
            touched.append((frame, reduction))
    return _exposures(touched)


def better_masters(context: Context, light: ReducedLight, *, build: bool = False) -> dict[str, str]:
    """Return the masters that a light would get now and did not get, kind -> fingerprint.

    Parameters
    ----------
    context : Context
    light : tuple of Frame and Reduction
    build : bool
        Build what is planned first: vetting may refuse it, and then it is no better.
    """
    frame, reduction = light
    better = {}
    for kind in wanted_kinds(context.profiles[frame.instrument], frame.steps_done.split()):
        plan = _built(context, kind, frame) if build else _planned(context, kind, frame)
        if plan is not None and reduction.masters.get(str(kind)) != plan.fingerprint:
            better[str(kind)] = plan.fingerprint
    return better


Mark = tuple[int, tuple[tuple[str, str], ...]]
"""A light's row, and kind and fingerprint of each of its better masters."""


class BetterMasters:
    """The live service's look at nights that are over: frames that dawn's calibrations touch are queued.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen: object = None
        self._queued: dict[Mark, datetime] = {}

    def queue(self, now: datetime) -> int:
        """Queue the lights of nights that are over which would get other masters by now.

        A night is looked at when its lights and the sets that were taken after them are complete, and again
        when calibrations or the states of masters have changed since. No frame is queued twice for the same
        masters.

        Returns
        -------
        int
            How many exposures were queued.
        """
        complete = cache(partial(self._is_complete, now))
        lights = [light for light in self._recent(now) if complete(light[0].instrument, light[0].night)]
        seen = self._state(lights)
        if seen == self._seen:
            # Files that come back leave no trace in the store.
            lights = [light for light in lights if _missed_files(light)]
        marks = {self._mark(light): light for light in lights}
        new = {mark: light for mark, light in marks.items() if mark[1] and mark not in self._queued}
        ids = _exposures(new.values())
        queued = 0
        if ids:
            queued = len(
                requeue(self._context.database, ids, states=[State.DONE], priority=Priority.REDO, now=now)
            )
        # Only now: where the store was locked above, it is looked at again.
        self._seen = seen
        kept = {mark: when for mark, when in self._queued.items() if now - when < RECENT}
        self._queued = kept | dict.fromkeys(new, now)
        return queued

    def _recent(self, now: datetime) -> list[ReducedLight]:
        return reduced_lights(self._context.database, received_after=now - RECENT)

    def _is_complete(self, now: datetime, instrument: str, night: str) -> bool:
        """Return whether all of a camera's night is there; the answer is that of all of its lights."""
        profile = self._context.profiles.get(instrument)
        if profile is None:
            return False
        last = last_received(self._context.database, instrument)
        quiet = last is not None and now - last >= timedelta(minutes=profile.masters.set_gap_minutes)
        return quiet and night_is_over(self._context.database, instrument, night, profile, now)

    def _state(self, lights: Sequence[ReducedLight]) -> object:
        database = self._context.database
        instruments = sorted({frame.instrument for frame, _ in lights})
        calibrations = [
            len(calibration_frames(database, str(kind), instrument=instrument))
            for instrument in instruments
            for kind in (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT)
        ]
        states = [
            (row.fingerprint, row.state) for one in instruments for row in masters(database, instrument=one)
        ]
        return [frame.id for frame, _ in lights], calibrations, states

    def _mark(self, light: ReducedLight) -> Mark:
        """Return a light's row and the better masters that there are for it."""
        better = better_masters(self._context, light, build=True)
        return light[0].id or 0, tuple(sorted(better.items()))


def _missed_files(light: ReducedLight) -> bool:
    return any(AWAY in warning for warning in light[1].warnings)


def _planned(context: Context, kind: FrameKind, frame: Frame) -> MasterPlan | None:
    try:
        return plan_for(context, kind, frame)
    except MissingCalibration:
        return None  # nothing is better than what the frame has


def _built(context: Context, kind: FrameKind, frame: Frame) -> MasterPlan | None:
    try:
        return obtain(context, kind, frame)[0]
    except MissingCalibration:
        return None  # nothing is better than what the frame has


def _exposures(lights: Iterable[ReducedLight]) -> list[int]:
    return list(dict.fromkeys(frame.exposure_id for frame, _ in lights))
