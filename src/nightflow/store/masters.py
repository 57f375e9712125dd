"""Masters in the store: what they are made from, which there are, what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, or_, select

from nightflow.store.database import Database, serialise
from nightflow.store.models import Exposure, Frame, Master, MasterInput, Reduction, State

__all__ = [
    "CalibrationFrame",
    "add_master",
    "calibration_frames",
    "cameras_with",
    "count_calibration_frames",
    "find_master",
    "find_masters",
    "forget_refusal",
    "master_inputs",
    "masters",
    "masters_of",
    "masters_with",
    "set_master_state",
]

MATCH_COLUMNS = frozenset({"ny", "nx", "binning", "gain_setting", "readout_mode", "filter", "exptime"})
"""Columns of a frame by which `calibration_frames` may select."""

_SHORTEST_PREFIX = 4
"""Characters of a fingerprint that may stand for it."""

_UNFIT = (State.REJECTED, State.FAILED, State.DUPLICATE)


@dataclass(frozen=True, kw_only=True)
class CalibrationFrame:
    """A frame that a master may be made from, and its file.

    Attributes
    ----------
    frame : Frame
        Its row.
    path, sha256 : str
        Of the file.
    received_at : datetime or None
        When it landed.
    """

    frame: Frame
    path: str
    sha256: str
    received_at: datetime | None = None


def calibration_frames(
    database: Database,
    kind: str,
    *,
    instrument: str,
    detector: str | None = None,
    match: Mapping[str, Any] | None = None,
    mjd_from: float | None = None,
    mjd_until: float | None = None,
) -> list[CalibrationFrame]:
    """Return the usable frames of a kind, ordered by (mjd_mid, sha256, detector), those without a time last.

    Parameters
    ----------
    kind : str
        bias, dark, flat (or light, to make sky flats).
    match : mapping, optional
        Column -> value that must be equal; see `MATCH_COLUMNS`.
    mjd_from, mjd_until : float, optional
        Ends of the time range, both included. A frame without a time may be of any, so it is in each.

    Raises
    ------
    ValueError
        ``match`` names a column that frames are not matched by.
    """
    unknown = set(match or {}) - MATCH_COLUMNS
    if unknown:
        raise ValueError(f"cannot match frames by {', '.join(sorted(unknown))}")
    conditions: list[Any] = [Frame.kind == kind, Frame.instrument == instrument]
    conditions += [getattr(Frame, name) == value for name, value in (match or {}).items()]
    if detector is not None:
        conditions.append(Frame.detector == detector)
    untimed = col(Frame.mjd_mid).is_(None)
    if mjd_from is not None:
        conditions.append(or_(untimed, col(Frame.mjd_mid) >= mjd_from))
    if mjd_until is not None:
        conditions.append(or_(untimed, col(Frame.mjd_mid) <= mjd_until))
    conditions += _usable()
    with database.session() as session:
        return _with_files(session, conditions)


def count_calibration_frames(database: Database, kind: str, *, instrument: str) -> int:
    """Return how many usable frames of a kind there are; see `calibration_frames`."""
    statement = (
        select(func.count())
        .select_from(Frame)
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(Frame.kind == kind, Frame.instrument == instrument, *_usable())
    )
    with database.session() as session:
        return session.exec(statement).one()


def cameras_with(database: Database, kind: str, ny: int, nx: int) -> list[tuple[str, int]]:
    """Return the cameras that have usable frames of a kind and raw shape, and how many, ordered by name."""
    statement = (
        select(Frame.instrument, func.count())
        .where(Frame.kind == kind, Frame.ny == ny, Frame.nx == nx, col(Frame.state).not_in(_UNFIT))
        .group_by(col(Frame.instrument))
        .order_by(col(Frame.instrument))
    )
    with database.session() as session:
        return [(name, number) for name, number in session.exec(statement)]


def add_master(database: Database, master: Master, input_frame_ids: Sequence[int]) -> Master:
    """Enter a master with its inputs; one with a fingerprint that is known changes nothing.

    Returns
    -------
    Master
        The row in the store.
    """
    with database.write() as session:
        serialise(session, f"master {master.fingerprint}")
        known = session.exec(select(Master).where(Master.fingerprint == master.fingerprint)).first()
        if known is not None:
            return known
        session.add(master)
        session.flush()
        assert master.id is not None
        session.add_all(
            MasterInput(master_id=master.id, frame_id=one) for one in sorted(set(input_frame_ids))
        )
        return master


def masters(
    database: Database,
    *,
    kind: str | None = None,
    instrument: str | None = None,
    detector: str | None = None,
    state: str | None = None,
) -> list[Master]:
    """Return the masters that fit, ordered by (kind, mjd_mid, fingerprint)."""
    wanted = {"kind": kind, "instrument": instrument, "detector": detector, "state": state}
    conditions = [getattr(Master, name) == value for name, value in wanted.items() if value is not None]
    order = (col(Master.kind), col(Master.mjd_mid), col(Master.fingerprint))
    with database.session() as session:
        return list(session.exec(select(Master).where(*conditions).order_by(*order)))


def find_master(database: Database, fingerprint: str) -> Master | None:
    """Return the master with a fingerprint, or None."""
    with database.session() as session:
        return session.exec(select(Master).where(Master.fingerprint == fingerprint)).first()


def set_master_state(database: Database, master_id: int, state: str, reason: str) -> Master | None:
    """Approve or reject a master; None where there is no such master.

    Raises
    ------
    ValueError
        ``state`` is none of provisional, approved, rejected.
    """
    if state not in ("provisional", "approved", "rejected"):
        raise ValueError(f"a master is provisional, approved or rejected, not {state!r}")
    with database.write() as session:
        master = session.get(Master, master_id)
        if master is not None:
            master.state, master.reason = state, reason
        return master


def forget_refusal(database: Database, master_id: int) -> bool:
    """Take out the row of a set that made no master, so that it is tried again; False where it made one."""
    with database.write() as session:
        master = session.get(Master, master_id)
        if master is None or master.path:
            return False
        for link in session.exec(select(MasterInput).where(MasterInput.master_id == master_id)):
            session.delete(link)
        session.flush()
        session.delete(master)
        return True


def master_inputs(database: Database, master_id: int) -> list[CalibrationFrame]:
    """Return the frames that a master was made from, ordered as `calibration_frames` does."""
    frames = select(MasterInput.frame_id).where(MasterInput.master_id == master_id)
    with database.session() as session:
        return _with_files(session, [col(Frame.id).in_(frames)])


def masters_with(database: Database, frame_id: int) -> list[Master]:
    """Return the masters that a raw calibration frame went into."""
    made = select(MasterInput.master_id).where(MasterInput.frame_id == frame_id)
    with database.session() as session:
        return list(session.exec(select(Master).where(col(Master.id).in_(made)).order_by(col(Master.id))))


def find_masters(database: Database, text: str) -> list[Master]:
    """Return the masters that a person means: by number, or by the beginning of the fingerprint."""
    number = int(text) if text.isdecimal() and len(text) < 10 else -1
    with database.session() as session:
        by_number = session.get(Master, number)
        if by_number is not None:
            return [by_number]
        if len(text) < _SHORTEST_PREFIX:
            return []
        begins = col(Master.fingerprint).startswith(text.lower(), autoescape=True)
        return list(session.exec(select(Master).where(begins).order_by(col(Master.id))))


def masters_of(database: Database, reduction: Reduction) -> list[Master]:
    """Return the masters that a reduction used, by kind."""
    with database.session() as session:
        used = select(Master).where(col(Master.fingerprint).in_(list(reduction.masters.values())))
        return list(session.exec(used.order_by(col(Master.kind))))


def _usable() -> list[Any]:
    return [col(Frame.state).not_in(_UNFIT), col(Exposure.state).not_in(_UNFIT)]


def _with_files(session: Session, conditions: Sequence[Any]) -> list[CalibrationFrame]:
    statement = (
        select(Frame, Exposure.path, Exposure.sha256, Exposure.received_at)
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(*conditions)
        .order_by(col(Frame.mjd_mid).is_(None), col(Frame.mjd_mid), col(Exposure.sha256), col(Frame.detector))
    )
    return [
        CalibrationFrame(frame=frame, path=path, sha256=sha256, received_at=received_at)
        for frame, path, sha256, received_at in session.exec(statement).all()
    ]
