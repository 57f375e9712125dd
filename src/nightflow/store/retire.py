"""Frames that do not count any more: what was found of them is in no light curve, and stays on record."""

from __future__ import annotations

from sqlmodel import Session, col, select

from nightflow.store.models import Frame, MasterInput, Reduction, State
from nightflow.store.sources import count_observation

__all__ = ["retire_frame", "retire_or_drop"]


def retire_frame(session: Session, frame: Frame, state: State, reason: str) -> None:
    """Let no reduction of a frame be the current one; counts change, see `serialise` of "association"."""
    frame.state, frame.reason = state, reason
    current = select(Reduction).where(Reduction.frame_id == frame.id, col(Reduction.current))
    for reduction in session.exec(current).all():
        count_observation(session, reduction.id or 0, -1)
        reduction.current = False


def retire_or_drop(session: Session, frame: Frame) -> None:
    """Put away the row of a detector that the file, as it is read now, does not hold.

    The same pixels are those of another row by now. One of which something was made stays as a duplicate.
    """
    if not _is_named(session, frame):
        session.delete(frame)
        return
    reason = f"its file, as it is read now, holds no detector {frame.detector!r} of camera {frame.instrument}"
    retire_frame(session, frame, State.DUPLICATE, reason)


def _is_named(session: Session, frame: Frame) -> bool:
    reduced = select(Reduction.id).where(Reduction.frame_id == frame.id).limit(1)
    put_in = select(MasterInput.frame_id).where(MasterInput.frame_id == frame.id).limit(1)
    return session.exec(reduced).first() is not None or session.exec(put_in).first() is not None
