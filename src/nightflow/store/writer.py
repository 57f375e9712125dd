"""Append one reduction with its measurements: everything in one transaction, or nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func
from sqlmodel import Session, col, select

from nightflow.epochs import julian_year
from nightflow.errors import FrameRejected
from nightflow.flags import Flag
from nightflow.lightcurves.associate import reach
from nightflow.store.bulk import insert_measurements
from nightflow.store.database import Database, serialise
from nightflow.store.forced_rows import source_at
from nightflow.store.leases import check_lease
from nightflow.store.models import Measurement, Reduction, WcsStars
from nightflow.store.partitions import ensure_partition
from nightflow.store.records import MeasurementColumns, ReductionRecord, WcsStarsRecord
from nightflow.store.sources import Detections, count_observation, identify

__all__ = ["ONLINE_ASSOCIATION", "AppendResult", "append"]

ONLINE_ASSOCIATION = 1
"""Version of the association that is done frame by frame, as they come."""

_AMBIGUOUS = int(Flag.AMBIGUOUS)


@dataclass(frozen=True, kw_only=True)
class AppendResult:
    """What `append` did.

    Attributes
    ----------
    reduction_id, version : int
        The reduction that counts now.
    changed : bool
        False where the same plan had been carried out before: then no row was touched.
    kept_complete : bool
        True where that is a more complete one, which stays on request.
    n_measurements, n_associated, n_new_sources : int
        Rows written, rows with a source, and sources made.
    n_dropped : int
        Rows left out, for their place or flux is not a finite number.
    """

    reduction_id: int
    version: int
    changed: bool
    kept_complete: bool = False
    n_measurements: int = 0
    n_associated: int = 0
    n_new_sources: int = 0
    n_dropped: int = 0


def append(
    database: Database,
    frame_id: int,
    record: ReductionRecord,
    columns: MeasurementColumns,
    *,
    now: datetime,
    radius: float | None = None,
    keep_complete: bool = False,
    wcs_stars: WcsStarsRecord | None = None,
    worker: str | None = None,
) -> AppendResult:
    """Make this the current reduction of a frame.

    Where the current one carried out the same plan, nothing changes. Otherwise there is a new version; the
    old one and its measurements stay, marked not current. Detections with a place on the sky get their
    persistent source, a new one where there is none.

    Parameters
    ----------
    frame_id : int
        The frame's row.
    record : ReductionRecord
        What the chain found of the frame.
    columns : MeasurementColumns
        Its measurements; may be empty.
    now : datetime
        Aware.
    keep_complete : bool
        Leave a current reduction that has measurements as it is.
    wcs_stars : WcsStarsRecord, optional
        The stars that its WCS was fitted to.
    worker : str, optional
        Where given, only the holder of the exposure's lease may write.
    radius : float, optional
        Arcsec within which a detection is a known source; else by `nightflow.lightcurves.associate.reach`.

    Raises
    ------
    FrameRejected
        There are measurements, but no time to put to them.
    LeaseLost
        ``worker`` holds the exposure no more; nothing was written.
    RetryLater
        The store is locked or away; nothing was written.
    """
    if len(columns) and not math.isfinite(columns.mjd_mid):
        raise FrameRejected(f"frame {frame_id} has no time of mid-exposure: no light curve can take it")
    if len(columns):
        ensure_partition(database, columns.mjd_mid)
    with database.write() as session:
        # Two frames of one field at a time would both make the same new sources.
        serialise(session, "association")
        check_lease(session, frame_id, worker)
        old = session.exec(
            select(Reduction).where(Reduction.frame_id == frame_id, col(Reduction.current))
        ).first()
        if old is not None and old.plan_fingerprint == record.plan_fingerprint:
            return _unchanged(old)
        if old is not None and keep_complete and _has_measurements(session, old):
            return replace(_unchanged(old), kept_complete=True)
        _retire(session, old)
        reduction = _add_reduction(session, frame_id, record, now)
        if wcs_stars is not None:
            session.add(WcsStars(reduction_id=reduction.id or 0, **wcs_stars.values()))
        return _measure(session, reduction, columns, _reach(record, columns, radius))


def _unchanged(reduction: Reduction) -> AppendResult:
    assert reduction.id is not None
    return AppendResult(reduction_id=reduction.id, version=reduction.version, changed=False)


def _has_measurements(session: Session, reduction: Reduction) -> bool:
    rows = select(Measurement.number).where(Measurement.reduction_id == reduction.id).limit(1)
    return session.exec(rows).first() is not None


def _retire(session: Session, old: Reduction | None) -> None:
    if old is None or old.id is None:
        return
    count_observation(session, old.id, -1)
    old.current = False
    session.flush()


def _add_reduction(session: Session, frame_id: int, record: ReductionRecord, now: datetime) -> Reduction:
    last = session.exec(select(func.max(Reduction.version)).where(Reduction.frame_id == frame_id)).one()
    reduction = Reduction(
        frame_id=frame_id, version=(last or 0) + 1, current=True, created_at=now, **record.values()
    )
    session.add(reduction)
    session.flush()
    return reduction


def _reach(record: ReductionRecord, columns: MeasurementColumns, radius: float | None) -> NDArray[np.float64]:
    if radius is not None:
        return np.full(len(columns), radius)
    return reach(record.scale, record.fwhm_px, record.wcs_rms_arcsec, columns.position_err)


def _measure(
    session: Session, reduction: Reduction, columns: MeasurementColumns, radius: NDArray[np.float64]
) -> AppendResult:
    assert reduction.id is not None
    source_ids, ambiguous, n_new = _source_of_rows(session, reduction.frame_id, columns, radius)
    fixed = columns.forced() if columns.moving is None else columns.forced() & ~columns.moving
    _attach(session, columns, fixed, radius, source_ids)
    association = np.where(columns.forced() & ~fixed, 0, ONLINE_ASSOCIATION)
    columns = replace(columns, flags=np.where(ambiguous, columns.flags | _AMBIGUOUS, columns.flags))
    written = insert_measurements(session, reduction.id, columns, source_ids, association)
    if written:
        count_observation(session, reduction.id, +1, float(columns.mjd_mid))
    return AppendResult(
        reduction_id=reduction.id,
        version=reduction.version,
        changed=True,
        n_measurements=written,
        n_associated=int((source_ids[columns.usable()] > 0).sum()),
        n_new_sources=n_new,
        n_dropped=len(columns) - written,
    )


def _source_of_rows(
    session: Session, frame_id: int, columns: MeasurementColumns, radius: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Return the source of each row and whether it is ambiguous; the kinds of one detection share both."""
    rows = np.flatnonzero(columns.usable() & columns.solved() & ~columns.forced())
    source_of_row, ambiguous = np.zeros(len(columns), np.int64), np.zeros(len(columns), bool)
    if not len(rows):
        return source_of_row, ambiguous, 0
    _, first, detection = np.unique(columns.number[rows], return_index=True, return_inverse=True)
    one_each = rows[first]
    found = identify(
        session,
        frame_id,
        Detections(
            number=columns.number[one_each],
            ra=columns.ra[one_each],
            dec=columns.dec[one_each],
            reach=radius[one_each],
            flags=columns.flags[one_each],
            catalog=None if columns.catalog is None else columns.catalog.take(one_each),
        ),
        epoch=julian_year(columns.mjd_mid),
    )
    source_of_row[rows] = found.source[detection]
    ambiguous[rows] = found.ambiguous[detection]
    return source_of_row, ambiguous, found.n_new


def _attach(
    session: Session,
    columns: MeasurementColumns,
    fixed: NDArray[np.bool_],
    radius: NDArray[np.float64],
    source_ids: NDArray[np.int64],
) -> None:
    """Write the sources that stand where apertures were put into ``source_ids``; none is made for them."""
    rows = np.flatnonzero(fixed & columns.usable() & columns.solved())
    source_ids[rows] = source_at(
        session, columns.ra[rows], columns.dec[rows], radius[rows], julian_year(columns.mjd_mid)
    )
