"""What the store holds of where a night's frames looked."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from nightflow.store.database import Database
from nightflow.store.models import Exposure, Frame, Reduction, State

__all__ = ["solved_frames"]

_OF_FRAME = ("instrument", "detector", "filter", "mjd_mid", "airmass", "ra", "dec")
_OF_REDUCTION = (
    "hour_angle", "ra_center", "dec_center", "scale", "rotation", "wcs_quality", "wcs_backend",
    "wcs_n_matched", "wcs_n_expected", "wcs_rms_arcsec", "wcs_heldout_rms_arcsec", "wcs_corner_rms_arcsec",
    "wcs_corner_err_arcsec",
)  # fmt: skip


def solved_frames(database: Database, night: str) -> list[dict[str, Any]]:
    """Return the lights of a night that have a WCS, in the order of time, content and detector.

    Each with ``file``, ``ra`` and ``dec`` of the header, ``lent_distortion``, and columns of
    `nightflow.store.models.Frame` and `nightflow.store.models.Reduction`.
    """
    statement = (
        select(Exposure, Frame, Reduction)
        .join(Frame, col(Frame.exposure_id) == col(Exposure.id))
        .join(Reduction, (col(Reduction.frame_id) == col(Frame.id)) & col(Reduction.current))
        .where(
            col(Frame.night) == night,
            col(Frame.kind) == "light",
            col(Frame.mjd_mid).is_not(None),
            col(Reduction.ra_center).is_not(None),
            col(Reduction.scale).is_not(None),
            col(Exposure.state) != State.DUPLICATE,
        )
        .order_by(col(Frame.mjd_mid), col(Exposure.sha256), col(Frame.detector))
    )
    with database.session() as session:
        return [
            {"file": PurePath(exposure.path).name, "lent_distortion": bool(reduction.wcs_distortion)}
            | {name: getattr(frame, name) for name in _OF_FRAME}
            | {name: getattr(reduction, name) for name in _OF_REDUCTION}
            for exposure, frame, reduction in session.execute(statement).all()
        ]
