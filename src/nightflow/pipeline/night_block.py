"""A block: the lights of one night, camera, chip and filter, which keep their masters until it is over."""

from __future__ import annotations

from datetime import datetime, timedelta

from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.store.blocks import block_masters, last_light_received
from nightflow.store.database import Database
from nightflow.store.models import Frame as FrameRow

__all__ = ["block_fingerprints", "night_is_over"]


def night_is_over(
    database: Database, instrument: str, night: str, profile: CameraProfile, now: datetime
) -> bool:
    """Return whether a camera's lights of a night have all come, as far as can be told.

    That is so when none has landed for ``masters.block_gap_minutes``. From then on masters may change: a
    frame that is reduced again gets what the whole night's calibrations give.

    Parameters
    ----------
    night : str
        Date of the evening; "" (frames without a time) is never over.
    now : datetime
        Aware.
    """
    last = last_light_received(database, instrument, night) if night else None
    return last is not None and now - last >= timedelta(minutes=profile.masters.block_gap_minutes)


def block_fingerprints(database: Database, kind: FrameKind, frame: FrameRow) -> list[str]:
    """Return the masters of a kind that a frame's block was reduced with, the last used first."""
    if not frame.night:
        return []
    used = block_masters(database, frame.instrument, frame.detector, frame.filter, frame.night)
    return list(dict.fromkeys(one[str(kind)] for one in used if str(kind) in one))
