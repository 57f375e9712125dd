"""What follows when a file is replaced by another one under the same path."""

from __future__ import annotations

from sqlmodel import Session, col, select

from nightflow.store.database import Database, serialise
from nightflow.store.models import Exposure, Frame, Reduction, State
from nightflow.store.sources import count_observation

__all__ = ["supersede_replaced"]

_SAME_MOMENT = 0.5 / 86400.0
"""Days. Two frames of one detector so near in time are the same exposure of the sky."""


def supersede_replaced(database: Database, exposure_id: int) -> list[int]:
    """Retire earlier exposures of the same path that hold the same frame, written differently.

    A file that was completed or corrected after it was first taken is a new exposure of the ledger; without
    this, its stars would be in the light curves twice. A path that a camera uses again on another night holds
    another moment: its old rows stay.

    Parameters
    ----------
    exposure_id : int
        The exposure that holds the path's content now.

    Returns
    -------
    list of int
        The exposures that were retired: state ``rejected``, with a reason that names this one.
    """
    with database.write() as session:
        # Counts of observations are changed below: nobody else may count meanwhile.
        serialise(session, "association")
        exposure = session.get(Exposure, exposure_id)
        if exposure is None:
            return []
        times = {frame.detector: frame.mjd_mid for frame in _frames(session, exposure_id)}
        earlier = session.exec(
            select(Exposure).where(
                Exposure.path == exposure.path,
                Exposure.id != exposure_id,
                col(Exposure.state) != State.DUPLICATE,
            )
        ).all()
        replaced = [one for one in earlier if _is_same_frame(session, one, times)]
        for one in replaced:
            _retire(session, one, exposure_id)
        return [one.id for one in replaced if one.id is not None]


def _frames(session: Session, exposure_id: int) -> list[Frame]:
    return list(session.exec(select(Frame).where(Frame.exposure_id == exposure_id)))


def _is_same_frame(session: Session, exposure: Exposure, times: dict[str, float | None]) -> bool:
    for frame in _frames(session, exposure.id or 0):
        now = times.get(frame.detector)
        if now is not None and frame.mjd_mid is not None and abs(now - frame.mjd_mid) < _SAME_MOMENT:
            return True
    return False


def _retire(session: Session, exposure: Exposure, successor: int) -> None:
    reason = f"the file was replaced; exposure {successor} holds its new content"
    exposure.state, exposure.reason, exposure.waits_for, exposure.retry_at = State.REJECTED, reason, "", None
    for frame in _frames(session, exposure.id or 0):
        frame.state, frame.reason = State.REJECTED, reason
        current = select(Reduction).where(Reduction.frame_id == frame.id, col(Reduction.current))
        for reduction in session.exec(current).all():
            count_observation(session, reduction.id or 0, -1)
            reduction.current = False
