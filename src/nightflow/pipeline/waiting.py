"""Frames that wait for a calibration are taken up again when it can be made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.master_plan import policy_of, wanted_kinds
from nightflow.pipeline.obtain import plan_for
from nightflow.pipeline.work import Context
from nightflow.store.frames import frames_of
from nightflow.store.ledger import held_for, requeue
from nightflow.store.models import Frame as FrameRow
from nightflow.store.models import Priority

__all__ = ["wake_for_calibration"]

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
    return requeue(context.database, ready, priority=Priority.REDO, now=now) if ready else 0


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
