"""Rows of forced apertures: which they are, and the source that stands where each was put.

They are numbered downwards from -1, so that they are no detections of the frame: they make no source and
count for none. A row at a fixed place belongs to the source that stands there, one that follows an ephemeris
to none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, select, update
from sqlmodel import Session, col

from nightflow.lightcurves.associate import associate
from nightflow.store.models import Measurement, is_detection
from nightflow.store.night_fields import ReducedFrame
from nightflow.store.sources import sources_around

__all__ = ["attach_forced", "source_at"]

_AT_ONCE = 100
"""Reductions in one statement."""


def source_at(
    session: Session,
    ra: NDArray[np.floating],
    dec: NDArray[np.floating],
    reach: NDArray[np.floating],
    epoch: float,
) -> NDArray[np.int64]:
    """Return the source that stands at each place of one frame, 0 for none; no two places have the same.

    Parameters
    ----------
    ra, dec : ndarray of float, shape (n,)
        ICRS degrees.
    reach : ndarray of float, shape (n,)
        How far from its place a source may stand, arcsec.
    epoch : float
        Julian year of the frame.
    """
    found = np.zeros(len(ra), np.int64)
    if len(ra):
        known = sources_around(session, ra, dec, float(reach.max()), epoch)
        matched = associate(ra, dec, known.ra, known.dec, reach).source
        found[matched >= 0] = known.ids[matched[matched >= 0]]
    return found


def attach_forced(session: Session, frames: Sequence[ReducedFrame], version: int) -> int:
    """Give the forced rows of frames to the sources that stand at their places now.

    Parameters
    ----------
    frames : sequence of ReducedFrame
        In the order of time.
    version : int
        Of the association; rows of version 0 follow an ephemeris and are left alone.

    Returns
    -------
    int
        How many rows were changed.
    """
    changed: list[dict[str, int | float | None]] = []
    for start in range(0, len(frames), _AT_ONCE):
        some = frames[start : start + _AT_ONCE]
        reduction, number, source, ra, dec = _read(session, some)
        bounds = np.searchsorted(reduction, np.unique(reduction))
        of_reduction = {frame.reduction_id: frame for frame in some}
        for first, stop in pairwise([*bounds.tolist(), len(reduction)]):
            frame, rows = of_reduction[int(reduction[first])], slice(first, stop)
            reach = frame.reach(np.full(stop - first, np.nan))
            now = source_at(session, ra[rows], dec[rows], reach, frame.year)
            for row in np.flatnonzero(now != source[rows]):
                changed.append(
                    {
                        "reduction": frame.reduction_id,
                        "mjd": frame.mjd_mid,
                        "place": int(number[first + row]),
                        "source": int(now[row]) or None,
                    }
                )
    if changed:
        table = Measurement.__table__  # type: ignore[attr-defined]
        statement = (
            update(table)
            .where(
                table.c.reduction_id == bindparam("reduction"),
                table.c.number == bindparam("place"),
                table.c.mjd_mid == bindparam("mjd"),
            )
            .values(source_id=bindparam("source"), association=version)
        )
        session.connection().execute(statement, changed)
    return len(changed)


def _read(
    session: Session, frames: Sequence[ReducedFrame]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return reduction, number, source (0 for none) and place of rows, in the order of reductions."""
    rows = session.execute(
        select(
            col(Measurement.reduction_id),
            col(Measurement.number),
            col(Measurement.source_id),
            col(Measurement.ra),
            col(Measurement.dec),
        )
        .where(
            col(Measurement.reduction_id).in_([one.reduction_id for one in frames]),
            col(Measurement.mjd_mid).between(frames[0].mjd_mid, frames[-1].mjd_mid),
            ~is_detection(),
            col(Measurement.association) > 0,
        )
        .order_by(col(Measurement.reduction_id), col(Measurement.number).desc())
    ).all()
    table = list(zip(*rows, strict=True)) or [()] * 5
    whole = [np.array([value or 0 for value in column], np.int64) for column in table[:3]]
    return whole[0], whole[1], whole[2], np.array(table[3], float), np.array(table[4], float)
