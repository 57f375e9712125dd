"""What the dashboard shows, read from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import col, select

from nightflow.service.instance_lock import lock_holder
from nightflow.store.database import Database
from nightflow.store.last_error import last_error
from nightflow.store.models import Exposure, Frame, Reduction, Target
from nightflow.store.overview import counts, queue_length
from nightflow.store.targets import list_targets

__all__ = ["Dashboard", "FrameLine", "gather"]

_FRAMES = 50


@dataclass(frozen=True, kw_only=True)
class FrameLine:
    """One frame of the list; ``frame_id`` is None for a file in which none was recognised."""

    exposure_id: int
    frame_id: int | None
    file: str
    state: str
    reason: str
    values: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """Everything on the page.

    Attributes
    ----------
    states : dict
        State -> number of exposures.
    queue : int
    is_watched : bool
        Whether a `nightflow watch` has this ledger.
    last_error : str
        Of the exposure that last ended failed, rejected or held; "" without one.
    frames : sequence of FrameLine
        The last ones received, newest first.
    targets : sequence of Target
    """

    states: dict[str, int]
    queue: int
    is_watched: bool
    last_error: str
    frames: Sequence[FrameLine]
    targets: Sequence[Target]


def gather(database: Database) -> Dashboard:
    """Read what the page shows."""
    error = last_error(database)
    return Dashboard(
        states={str(state): number for state, number in counts(database).items()},
        queue=queue_length(database),
        is_watched=lock_holder(database) is not None,
        last_error=f"{_name(error.path)}: {error.state}: {error.reason}" if error is not None else "",
        frames=_last_frames(database),
        targets=list_targets(database),
    )


def _last_frames(database: Database) -> list[FrameLine]:
    newest = select(Exposure.id).order_by(col(Exposure.received_at).desc(), col(Exposure.id).desc())
    statement = (
        select(Exposure, Frame, Reduction)
        .join(Frame, col(Frame.exposure_id) == col(Exposure.id), isouter=True)
        .join(Reduction, (col(Reduction.frame_id) == col(Frame.id)) & col(Reduction.current), isouter=True)
        .where(col(Exposure.id).in_(newest.limit(_FRAMES)))
        .order_by(col(Exposure.received_at).desc(), col(Exposure.id).desc(), col(Frame.hdu))
        .limit(_FRAMES)
    )
    with database.session() as session:
        return [_line(*row) for row in session.exec(statement).all()]


def _line(exposure: Exposure, frame: Frame | None, reduction: Reduction | None) -> FrameLine:
    # Joined from outside, a row may be absent whatever the types say.
    settled = frame is not None and frame.state != "received"
    values: dict[str, Any] = {"received": f"{exposure.received_at:%m-%d %H:%M:%S}"}
    if frame is not None:
        values |= {name: getattr(frame, name) for name in ("kind", "object", "filter", "exptime", "airmass")}
    if reduction is not None:
        names = ("fwhm_px", "ellipticity", "sky", "n_sources", "wcs_quality", "zp", "depth_5sigma")
        values |= {name: getattr(reduction, name) for name in names}
        values["seconds"] = sum(reduction.timings.values())
    return FrameLine(
        exposure_id=exposure.id or 0,
        frame_id=frame.id if frame is not None else None,
        file=_name(exposure.path),
        state=str(frame.state if frame is not None and settled else exposure.state),
        reason=(frame.reason if frame is not None and settled else exposure.reason) or exposure.reason,
        values=values,
    )


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
