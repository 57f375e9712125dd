"""What the frames of a night are judged by, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select, update
from sqlmodel import col

from nightflow.quality.grades import FrameMeasures
from nightflow.store.database import Database
from nightflow.store.models import Exposure, Frame, Reduction, State

__all__ = ["Judgement", "night_measures", "write_judgements"]

_MOST_PEERS = 300
"""Frames of a night, the latest, that a new one is compared with."""

_MEASURES: dict[str, Any] = {
    "mjd_mid": Frame.mjd_mid, "object": Frame.object, "exptime": Frame.exptime, "fwhm_px": Reduction.fwhm_px,
    "scale": Reduction.scale, "ellipticity": Reduction.ellipticity, "trailing": Reduction.trailing,
    "sky": Reduction.sky, "n_sources": Reduction.n_sources, "zero_point": Reduction.zp,
    "zp_catalog": Reduction.zp_catalog,
}  # fmt: skip
"""Name in `FrameMeasures` -> column."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the end of a night says of one reduction.

    Attributes
    ----------
    reduction_id : int
    grade, grade_reason : str or None
        None: it is not graded, for it is none of a light.
    verdict : str
        pass or fail.
    """

    reduction_id: int
    grade: str | None
    grade_reason: str | None
    verdict: str


def night_measures(database: Database, frame_id: int) -> list[FrameMeasures]:
    """Return the measures of the lights of a frame's night, camera, detector and filter but for its own."""
    with database.session() as session:
        frame = session.get(Frame, frame_id)
        if frame is None or not frame.night:
            return []
        rows = session.connection().execute(
            select(*(column.label(name) for name, column in _MEASURES.items()))
            .join(Reduction, (col(Reduction.frame_id) == col(Frame.id)) & col(Reduction.current))
            .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
            .where(
                col(Frame.night) == frame.night,
                col(Frame.kind) == "light",
                col(Frame.instrument) == frame.instrument,
                col(Frame.detector) == frame.detector,
                col(Frame.filter) == frame.filter,
                col(Frame.id) != frame_id,
                col(Exposure.state) != State.DUPLICATE,
                col(Frame.state) != State.REJECTED,
            )
            .order_by(col(Frame.mjd_mid).desc())
            .limit(_MOST_PEERS)
        )
        return [FrameMeasures(**row._mapping) for row in rows]


def write_judgements(database: Database, judgements: Sequence[Judgement]) -> int:
    """Write what the end of the night says of each reduction; return how many rows changed."""
    changed = 0
    with database.write() as session:
        for one in judgements:
            values = {"grade": one.grade, "grade_reason": one.grade_reason, "verdict": one.verdict}
            same = (col(getattr(Reduction, name)).is_not_distinct_from(new) for name, new in values.items())
            done = session.connection().execute(
                update(Reduction).where(col(Reduction.id) == one.reduction_id, ~and_(*same)).values(**values)
            )
            changed += done.rowcount
    return changed
