"""Frames that hold a place on the sky, which may move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import ColumnElement, select
from sqlmodel import Session, col

from nightflow.lightcurves.associate import separation
from nightflow.store.models import Frame, Reduction

__all__ = ["CoveringFrame", "covering"]


@dataclass(frozen=True, kw_only=True)
class CoveringFrame:
    """A current reduction whose frame reaches to a place.

    Attributes
    ----------
    reduction_id : int
    mjd_mid : float
        UTC.
    ra, dec : float
        Where the place is at that time, ICRS degrees.
    scale : float
        Arcsec per pixel.
    """

    reduction_id: int
    mjd_mid: float
    ra: float
    dec: float
    scale: float


def covering(
    session: Session,
    place_at: Callable[[float], tuple[float, float] | None],
    *conditions: ColumnElement[bool],
) -> list[CoveringFrame]:
    """Return the frames whose corners are farther out than a place is, in the order of time.

    Parameters
    ----------
    place_at : callable
        Returns right ascension and declination at an MJD, ICRS degrees, or None.
    conditions : ColumnElement
        What reductions and frames must fulfil beside.
    """
    rows = session.execute(
        select(
            col(Reduction.id), col(Frame.mjd_mid), col(Reduction.ra_center), col(Reduction.dec_center),
            col(Reduction.scale), col(Frame.ny), col(Frame.nx),
        )
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .where(
            col(Reduction.current),
            col(Reduction.ra_center).is_not(None),
            col(Frame.mjd_mid).is_not(None),
            *conditions,
        )
        .order_by(col(Frame.mjd_mid), col(Reduction.id))
    ).all()  # fmt: skip
    found = []
    for reduction, mjd, ra, dec, scale, ny, nx in rows:
        place = place_at(mjd)
        if place is None or separation(ra, dec, *place) > 0.5 * float(np.hypot(ny, nx)) * scale:
            continue
        found.append(
            CoveringFrame(reduction_id=reduction, mjd_mid=mjd, ra=place[0], dec=place[1], scale=scale)
        )
    return found
