"""The ledger's frames: one row a detector of an exposure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ScalarSelect, func, update
from sqlmodel import Session, col, select

from nightflow.errors import FrameRejected
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.nights import CALENDAR, night_of
from nightflow.store.database import Database, serialise
from nightflow.store.leases import check_holder, check_lease
from nightflow.store.models import Exposure, Frame, State, finite, plain_text

__all__ = [
    "add_warning",
    "camera_of",
    "camera_of_exposure",
    "exposures_of_night",
    "exposures_with_frames",
    "fail_frames",
    "frames_of",
    "get_frame",
    "lights_before",
    "record_frames",
    "settle_frame",
]

_LONGEST = 1.0
"""Days; no exposure is longer. The index of times bounds what is looked at."""


def record_frames(
    database: Database, exposure_id: int, headers: Sequence[FrameHeader], *, worker: str | None = None
) -> list[int]:
    """Enter the frames of an exposure; again with the same headers changes nothing.

    Rows of detectors that the file does not hold any more, since another profile recognised it or names them
    otherwise, are put away.

    Parameters
    ----------
    headers : sequence of FrameHeader
        One a detector.
    worker : str, optional
        Where given, only the holder of the exposure's lease may enter them.

    Returns
    -------
    list of int
        Their rows, in the order of ``headers``.

    Raises
    ------
    FrameRejected
        The exposure time is not a finite number, or the time has no date.
    LeaseLost
        ``worker`` holds the exposure no more; nothing was written.
    """
    detectors = {plain_text(header.detector) for header in headers}
    gone = select(Frame).where(
        Frame.exposure_id == exposure_id,
        col(Frame.detector).not_in(detectors),
        Frame.state != State.DUPLICATE,
    )
    with database.write() as session:
        if session.exec(gone.limit(1)).first() is not None:
            serialise(session, "association")
        # The exposure first, as everybody does who changes both.
        exposure = session.exec(select(Exposure).where(Exposure.id == exposure_id).with_for_update()).first()
        check_holder(exposure, worker)
        for frame in session.exec(gone.with_for_update()).all():
            # Imported here, seldom: it brings scipy, for which commands that only look have no time.
            from nightflow.store.retire import retire_or_drop

            retire_or_drop(session, frame)
        known = {
            frame.detector: frame
            for frame in session.exec(select(Frame).where(Frame.exposure_id == exposure_id).with_for_update())
        }
        frames = [_record(session, exposure_id, header, known) for header in headers]
        session.flush()
        return [frame.id for frame in frames if frame.id is not None]


def settle_frame(
    database: Database,
    frame_id: int,
    state: State,
    reason: str,
    *,
    traceback: str = "",
    worker: str | None = None,
) -> None:
    """Write down how a frame ended, and why.

    Parameters
    ----------
    worker : str, optional
        Where given, only the holder of the exposure's lease may settle.

    Raises
    ------
    LeaseLost
        ``worker`` holds the exposure no more; nothing was written.
    """
    with database.write() as session:
        check_lease(session, frame_id, worker)
        session.connection().execute(
            update(Frame)
            .where(col(Frame.id) == frame_id)
            .values(state=state, reason=reason, traceback=traceback)
        )


def add_warning(database: Database, frame_id: int, warning: str) -> None:
    """Add a warning to a frame that is done, and to its exposure where that is done; else nothing changes."""
    of_frame = select(Frame.exposure_id).where(Frame.id == frame_id)
    with database.write() as session:
        # The exposure first, as everybody does who changes both.
        exposures = session.exec(
            select(Exposure).where(col(Exposure.id).in_(of_frame)).with_for_update()
        ).all()
        frames = session.exec(select(Frame).where(Frame.id == frame_id).with_for_update()).all()
        rows: list[Exposure | Frame] = [*exposures, *frames]
        for row in rows:
            if row.state == State.DONE and warning not in row.reason:
                row.reason = f"{row.reason}; {warning}" if row.reason else warning


def fail_frames(session: Session, exposure_id: int, reason: str) -> None:
    """Let those frames of an exposure fail that have not ended: whoever had them in work is no more."""
    unended = (State.RECEIVED, State.REDUCING)
    session.connection().execute(
        update(Frame)
        .where(col(Frame.exposure_id) == exposure_id, col(Frame.state).in_(unended))
        .values(state=State.FAILED, reason=reason)
    )


def get_frame(database: Database, frame_id: int) -> Frame:
    """Return one frame.

    Raises
    ------
    KeyError
        The ledger has no such frame.
    """
    with database.session() as session:
        frame = session.get(Frame, frame_id)
    if frame is None:
        raise KeyError(f"frame {frame_id} is not in the ledger")
    return frame


def frames_of(database: Database, exposure_id: int) -> list[Frame]:
    """Return the frames of an exposure, by HDU; none that its file, as it is read now, does not hold."""
    with database.session() as session:
        frames = select(Frame).where(Frame.exposure_id == exposure_id, Frame.state != State.DUPLICATE)
        return list(session.exec(frames.order_by(col(Frame.hdu), col(Frame.id))))


def camera_of(frames: Sequence[Frame]) -> str | None:
    """Return the camera of an exposure by its frames, as `frames_of` has them; None without any."""
    return frames[0].instrument if frames else None


def camera_of_exposure() -> ScalarSelect[str | None]:
    """Return what is `camera_of` in a statement that reads exposures."""
    return (
        select(col(Frame.instrument))
        .where(col(Frame.exposure_id) == col(Exposure.id), col(Frame.state) != State.DUPLICATE)
        .order_by(col(Frame.hdu), col(Frame.id))
        .limit(1)
        .correlate(Exposure)
        .scalar_subquery()
    )


def lights_before(
    database: Database, frame: Frame, *, begin: float, ended: tuple[float, float], limit: int
) -> list[tuple[Frame, str]]:
    """Return the last lights of a frame's detector, shape and binning that ended in a span of time.

    Parameters
    ----------
    frame : Frame
    begin : float
        MJD; those that began later do not count.
    ended : tuple of float
        MJD.
    limit : int

    Returns
    -------
    list of (Frame, str)
        With the paths of their files, the last one first; no copies of other exposures.
    """
    half = col(Frame.exptime) / (2 * 86400.0)
    statement = (
        select(Frame, Exposure.path)
        .join(Exposure, col(Exposure.id) == col(Frame.exposure_id))
        .where(
            col(Frame.mjd_mid).between(ended[0] - _LONGEST, ended[1]),
            (col(Frame.mjd_mid) + half).between(*ended),
            col(Frame.mjd_mid) - half < begin,
            Frame.kind == FrameKind.LIGHT,
            Frame.instrument == frame.instrument,
            Frame.detector == frame.detector,
            Frame.ny == frame.ny,
            Frame.nx == frame.nx,
            Frame.binning == frame.binning,
            Frame.exposure_id != frame.exposure_id,
            col(Exposure.state) != State.DUPLICATE,
        )
        .order_by(col(Frame.mjd_mid).desc())
        .limit(limit)
    )
    with database.session() as session:
        return [(earlier, path) for earlier, path in session.exec(statement)]


def exposures_with_frames(database: Database) -> list[tuple[int, Frame | None]]:
    """Return every exposure with its first frame (None where it has none), oldest first; no duplicates."""
    first = select(func.min(Frame.id)).where(Frame.state != State.DUPLICATE).group_by(col(Frame.exposure_id))
    statement = (
        select(Exposure.id, Frame)
        .join(Frame, (col(Frame.exposure_id) == col(Exposure.id)) & col(Frame.id).in_(first), isouter=True)
        .where(col(Exposure.state) != State.DUPLICATE)
        .order_by(col(Exposure.id))
    )
    with database.session() as session:
        return [(exposure_id, frame) for exposure_id, frame in session.exec(statement).all() if exposure_id]


def exposures_of_night(database: Database, night: str) -> list[int]:
    """Return the exposures with a frame of this night, ordered by (mjd_mid, sha256); no duplicates."""
    statement = (
        select(Exposure.id, func.min(Frame.mjd_mid))
        .join(Frame, col(Frame.exposure_id) == col(Exposure.id))
        .where(Frame.night == night, col(Exposure.state) != State.DUPLICATE)
        .group_by(col(Exposure.id), col(Exposure.sha256))
        .order_by(func.min(Frame.mjd_mid), col(Exposure.sha256))
    )
    with database.session() as session:
        return [exposure_id for exposure_id, _ in session.exec(statement).all() if exposure_id is not None]


def _record(session: Session, exposure_id: int, header: FrameHeader, known: dict[str, Frame]) -> Frame:
    detector = plain_text(header.detector)
    frame = known.get(detector)
    if frame is None:
        frame = Frame(exposure_id=exposure_id, detector=detector, **_columns(header))
        known[detector] = frame
    if frame.state == State.DUPLICATE:  # its file holds it again
        frame.state, frame.reason = State.RECEIVED, ""
    for name, value in _columns(header).items():
        if getattr(frame, name) != value:
            setattr(frame, name, value)
    session.add(frame)
    return frame


def _columns(header: FrameHeader) -> dict[str, Any]:
    exptime = finite(header.exptime)
    if exptime is None:
        raise FrameRejected(f"exposure time {header.exptime!r} of detector {header.detector} is not a number")
    return {
        "hdu": header.hdu,
        "kind": str(header.kind),
        "instrument": header.instrument,
        "object": plain_text(header.object),
        "filter": plain_text(header.filter),
        "exptime": exptime,
        "date_obs": plain_text(header.date_obs),
        "mjd_mid": finite(header.mjd_mid),
        "ny": header.shape[0],
        "nx": header.shape[1],
        "binning": f"{header.binning[0]}x{header.binning[1]}",
        "gain_setting": plain_text(header.gain_setting),
        "readout_mode": plain_text(header.readout_mode),
        "ccd_temp": finite(header.ccd_temp),
        "rotator": finite(header.rotator),
        "ra": finite(header.ra),
        "dec": finite(header.dec),
        "airmass": finite(header.airmass),
        "bias_included": header.bias_included,
        "steps_done": " ".join(header.steps_done),
        "night": _night(header),
    }


def _night(header: FrameHeader) -> str:
    mjd_mid = finite(header.mjd_mid)
    if mjd_mid is None:
        return ""
    if not CALENDAR[0] <= mjd_mid <= CALENDAR[1]:
        raise FrameRejected(
            f"time of detector {header.detector}: MJD {mjd_mid:.10g} is outside the years 1 to 9999"
        )
    return night_of(mjd_mid, header.longitude)
