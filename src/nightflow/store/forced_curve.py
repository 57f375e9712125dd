"""The light curve of forced photometry at a place, fixed or moving, detected or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col

from nightflow.lightcurves.associate import match_radius, separation
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.store.covering import CoveringFrame, covering
from nightflow.store.database import Database
from nightflow.store.models import Frame, Measurement, Reduction, is_detection
from nightflow.store.queries import curve_of_rows, measurements_query

__all__ = ["forced_curve"]

_AT_ONCE = 200
"""Reductions in one statement."""
_MARGIN = 0.1
"""Degrees that a fixed place may move between nights."""


def forced_curve(
    database: Database,
    place_at: Callable[[float], tuple[float, float] | None],
    *,
    fixed: tuple[float, float] | None = None,
    radius: float | None = None,
    filter: str | None = None,
) -> LightCurve:
    """Return, of each frame, the forced aperture nearest to a place.

    Parameters
    ----------
    place_at : callable
        Returns right ascension and declination at an MJD (UTC), ICRS degrees, or None.
    fixed : tuple of float, optional
        About where that is; only apertures that were put on fixed places are asked for, and the curve is of
        the source that most of them belong to. Without it, only those that followed an ephemeris are.
    radius : float, optional
        Arcsec; else the larger of 3" and 1.5 pixels.
    filter : str, optional
        Only this one.
    """
    with database.session() as session:
        frames = covering(session, place_at, *([] if fixed is None else [_reaches(fixed[1])]))
        rows: list[Any] = []
        for start in range(0, len(frames), _AT_ONCE):
            rows += _nearest(session, frames[start : start + _AT_ONCE], radius, filter, moving=fixed is None)
        return curve_of_rows(session, rows, "forced", 0 if fixed is None else _source(rows))


def _source(rows: Sequence[Any]) -> int:
    """Return the source that most of the rows belong to, 0 where they belong to none."""
    known = Counter(int(row["source"]) for row in rows if row["source"])
    return known.most_common(1)[0][0] if known else 0


def _reaches(dec: float) -> Any:
    """Return the condition that a frame may reach to a declination, without a square root."""
    half = 0.5 * (col(Frame.ny) + col(Frame.nx)) * col(Reduction.scale) / 3600.0 + _MARGIN
    return func.abs(col(Reduction.dec_center) - dec) <= half


def _nearest(
    session: Session,
    frames: Sequence[CoveringFrame],
    radius: float | None,
    filter: str | None,
    *,
    moving: bool,
) -> list[Any]:
    """Return the row nearest to the place on each frame that has one within the radius.

    What moves is asked for where an ephemeris put the aperture (association 0), what stands where it was put
    on a fixed place: a body may pass a star.
    """
    widest = max(match_radius(one.scale) if radius is None else radius for one in frames) / 3600.0
    declinations = [one.dec for one in frames]
    statement = measurements_query("forced").where(
        col(Measurement.reduction_id).in_([one.reduction_id for one in frames]),
        ~is_detection(),
        col(Measurement.association) == 0 if moving else col(Measurement.association) > 0,
        col(Measurement.mjd_mid).between(frames[0].mjd_mid, frames[-1].mjd_mid),
        col(Measurement.dec).between(min(declinations) - widest, max(declinations) + widest),
    )
    if filter is not None:
        statement = statement.where(col(Measurement.filter) == filter)
    place_of = {one.reduction_id: one for one in frames}
    best: dict[int, tuple[float, Any]] = {}
    for row in session.connection().execute(statement).mappings():
        frame = place_of[row["id"]]
        distance = float(separation(row["ra"], row["dec"], frame.ra, frame.dec))
        within = match_radius(frame.scale) if radius is None else radius
        if distance <= within and distance < best.get(frame.reduction_id, (float("inf"), None))[0]:
            best[frame.reduction_id] = distance, row
    return [best[one.reduction_id][1] for one in frames if one.reduction_id in best]
