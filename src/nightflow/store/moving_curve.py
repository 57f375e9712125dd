"""The light curve of something that moves: what was measured where it was at the time of each frame."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from sqlalchemy import Select, and_, bindparam, or_, select
from sqlmodel import Session, col

from nightflow.lightcurves.associate import match_radius, separation
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.store.covering import CoveringFrame, covering
from nightflow.store.database import Database
from nightflow.store.models import (
    Frame,
    Measurement,
    MoverDetection,
    Reduction,
    Source,
    Target,
    is_detection,
    plain_text,
)
from nightflow.store.queries import curve_of_rows, measurements_query
from nightflow.store.rows import read_rows
from nightflow.store.targets import position_at

__all__ = ["detection_statement", "mover_curve", "moving_target_curve"]

_NIGHT = 0.5
"""Days."""


def mover_curve(
    database: Database, mover_id: int, *, filter: str | None = None, kind: str = "aperture"
) -> LightCurve:
    """Return the light curve of a body that `finish` found.

    Parameters
    ----------
    mover_id : int
    filter : str, optional
        Only this one.
    kind : str
        aperture, psf or forced.
    """
    with database.session() as session:
        rows = session.connection().execute(
            select(col(MoverDetection.reduction_id), col(Frame.mjd_mid), col(MoverDetection.number))
            .join(Reduction, col(Reduction.id) == col(MoverDetection.reduction_id))
            .join(Frame, col(Frame.id) == col(Reduction.frame_id))
            .where(col(MoverDetection.mover_id) == mover_id)
        )
        keys = [(one, mjd, number) for one, mjd, number in rows if mjd is not None]
        return _curve(session, keys, filter, kind)


def moving_target_curve(
    database: Database,
    target: Target,
    *,
    radius: float | None = None,
    filter: str | None = None,
    kind: str = "aperture",
) -> LightCurve:
    """Return what was measured nearest to a target's ephemeris on each frame.

    Parameters
    ----------
    target : Target
        With an ephemeris.
    radius : float, optional
        Arcsec from the ephemeris; else the larger of 3" and 1.5 pixels.
    filter : str, optional
        Only this one.
    kind : str
        aperture, psf or forced.
    """
    assert target.ephemeris is not None
    first, last = target.ephemeris[0][0], target.ephemeris[-1][0]
    with database.session() as session:
        keys = []
        frames = covering(
            session, lambda mjd: position_at(target, mjd), col(Frame.mjd_mid).between(first, last)
        )
        for frame in frames:
            within = match_radius(frame.scale) if radius is None else radius
            number = _nearest(session, frame, within, stays=_stays(frame, frames, within))
            if number is not None:
                keys.append((frame.reduction_id, frame.mjd_mid, number))
        return _curve(session, keys, filter, kind)


def _stays(frame: CoveringFrame, frames: Sequence[CoveringFrame], radius: float) -> bool:
    """Return whether a body stays within the radius on all frames of half a day about one."""
    times = [one.mjd_mid for one in frames]
    begin, end = bisect_left(times, frame.mjd_mid - _NIGHT), bisect_right(times, frame.mjd_mid + _NIGHT)
    here = frames[begin:end]
    ra, dec = np.array([one.ra for one in here]), np.array([one.dec for one in here])
    return bool(separation(frame.ra, frame.dec, ra, dec).max() <= radius)


def _nearest(session: Session, frame: CoveringFrame, radius: float, *, stays: bool) -> int | None:
    """Return the number of the detection nearest to a place, None where none is within the radius.

    What belongs to a star of a catalogue, or to a source whose place a night has settled, is none of what
    moves; but a slow body makes a source in a night, which no other night sees: one that lies within a pixel
    of its ephemeris counts. The time of the frame says in which month the database must look.
    """
    place, north = (frame.ra, frame.dec), radius / 3600.0
    settled = and_(col(Source.n_position) > 0, col(Source.n_obs) > col(Source.n_position))
    at_rest = settled if stays else col(Source.n_position) > 0
    rows = session.execute(
        select(col(Measurement.number), col(Measurement.ra), col(Measurement.dec), col(Source.n_position))
        .join(Source, col(Measurement.source_id) == col(Source.id), isouter=True)
        .where(
            or_(col(Source.id).is_(None), and_(~at_rest, col(Source.catalog) == "")),
            col(Measurement.reduction_id) == frame.reduction_id,
            col(Measurement.mjd_mid) == frame.mjd_mid,
            col(Measurement.dec).between(place[1] - north, place[1] + north),
            is_detection(),
        )
    ).all()
    distances = [(float(separation(ra, dec, *place)), int(number), n or 0) for number, ra, dec, n in rows]
    near = [one for one in distances if one[0] <= (min(radius, frame.scale) if one[2] else radius)]
    return min(near)[1] if near else None


def _curve(
    session: Session, keys: Sequence[tuple[int, float, int]], filter: str | None, kind: str
) -> LightCurve:
    """Return what was measured of detections, each given by its reduction, its time and its number."""
    statement = detection_statement(kind)
    rows = [
        row
        for reduction, mjd, number in keys
        for row in read_rows(session, statement, reduction=reduction, mjd=mjd, number=number)
        if filter is None or row["filter"] == plain_text(filter)
    ]
    rows.sort(key=lambda row: (row["mjd_mid"], row["path"]))
    return curve_of_rows(session, rows, kind)


@cache
def detection_statement(kind: str) -> Select[Any]:
    """Return the statement for what was measured of one detection, `bindparam` reduction, mjd and number."""
    return measurements_query(kind).where(
        col(Measurement.reduction_id) == bindparam("reduction"),
        col(Measurement.mjd_mid) == bindparam("mjd"),
        col(Measurement.number) == bindparam("number"),
    )
