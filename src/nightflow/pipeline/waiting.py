"""Frames that wait are taken up again when what they wait for is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from nightflow.errors import MissingCalibration
from nightflow.instruments.fits_file import is_there
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.master_plan import policy_of, wanted_kinds
from nightflow.pipeline.obtain import plan_for
from nightflow.pipeline.work import Context
from nightflow.store.database import Database
from nightflow.store.frames import frames_of
from nightflow.store.ledger import held_for, requeue
from nightflow.store.models import Exposure, Priority, State
from nightflow.store.models import Frame as FrameRow
from nightflow.store.overview import get_exposure

__all__ = ["queue_held", "queue_if_there", "wake_for_calibration"]

_AT_ONCE = 2
"""Times that an exposure is tried again at once whose file is there: a disk may list what it cannot open."""
_CALIBRATIONS = frozenset({FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT})


def wake_for_calibration(context: Context, arrived: Sequence[FrameRow], now: datetime) -> int:
    """Queue the held exposures whose masters can be had now that ``arrived`` is there.

    Parameters
    ----------
    context : Context
    arrived : sequence of Frame
        Frames that were settled just now; only calibration frames wake others.
    now : datetime
        Aware.

    Returns
    -------
    int
        How many were queued.
    """
    instruments = {frame.instrument for frame in arrived if FrameKind(frame.kind) in _CALIBRATIONS}
    ready = [
        exposure_id
        for instrument in sorted(instruments)
        for exposure_id in held_for(context.database, "calibration", instrument)
        if all(_complete(context, frame) for frame in frames_of(context.database, exposure_id))
    ]
    queues: defaultdict[int, list[int]] = defaultdict(list)
    for exposure_id in ready:
        held = get_exposure(context.database, exposure_id)
        queues[Priority.again(held.priority if held is not None else Priority.REDO)].append(exposure_id)
    return sum(queue_held(context.database, ids, priority, now) for priority, ids in queues.items())


def queue_if_there(
    database: Database, exposure: Exposure, now: datetime, *, missing: bool, renamed: bool
) -> None:
    """Queue an exposure that was just held for want of its file, where that is there by now.

    Whoever saw it come, or move, found the exposure in work, and left it alone.

    Parameters
    ----------
    exposure : Exposure
        As it was before it was held.
    now : datetime
        Aware.
    missing : bool
        Whether there was no file; where it could only not be read, it is away still.
    renamed : bool
        Whether it has moved since it was opened.
    """
    later = Priority.after_hold(exposure.priority)
    may_be_back = missing and Priority.holds(later) <= _AT_ONCE
    if renamed or (may_be_back and is_there(exposure.path)):
        queue_held(database, [exposure.id or 0], later, now)


def queue_held(database: Database, exposure_ids: Collection[int], priority: int, now: datetime) -> int:
    """Queue exposures again, those that are held still: others may be in work, or settled, by now."""
    return len(requeue(database, exposure_ids, states=[State.HELD], priority=priority, now=now))


def _complete(context: Context, frame: FrameRow) -> bool:
    profile = context.profiles.get(frame.instrument)
    if profile is None:
        return False
    try:
        for kind in wanted_kinds(profile, frame.steps_done.split()):
            if policy_of(profile, kind) == "required":
                plan_for(context, kind, frame)
    except MissingCalibration:
        return False
    return True
