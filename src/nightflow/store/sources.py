"""Persistent sources: which of them a frame saw, and new ones for what it saw first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlmodel import Session, col

from nightflow.flags import Flag
from nightflow.lightcurves.associate import associate
from nightflow.store import healpix
from nightflow.store.models import Measurement, Source

__all__ = ["SourceRows", "count_observation", "identify", "in_ranges", "sources_around"]

_MAS_PER_DEGREE = 3.6e6
_FASTEST = 60.0
"""Arcsec that a source may have moved since its epoch and still be found."""

_DOUBTFUL = int(Flag.BAD | Flag.HOT | Flag.COSMIC_RAY | Flag.DEAD | Flag.TRAIL | Flag.PERSISTENCE)
"""A detection with any of these may be seen on a known source, but makes no new one."""


@dataclass(frozen=True, kw_only=True)
class SourceRows:
    """Sources as columns of equal length n, ordered by row.

    Attributes
    ----------
    ids : ndarray of int64, shape (n,)
        Rows in the store.
    ra, dec : ndarray of float64, shape (n,)
        ICRS degrees at the epoch that was asked for.
    n_obs : ndarray of int64, shape (n,)
        Current reductions on which each was detected.
    """

    ids: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    n_obs: NDArray[np.int64]


def in_ranges(ranges: list[tuple[int, int]]) -> ColumnElement[bool]:
    """Return the condition that a source lies in one of these ranges of HEALPix pixels."""
    return or_(*(col(Source.healpix).between(first, last) for first, last in ranges))


def sources_around(
    session: Session, ra: NDArray[np.floating], dec: NDArray[np.floating], radius: float, epoch: float
) -> SourceRows:
    """Return the sources that may lie within ``radius`` arcsec of any of these places, moved to ``epoch``."""
    ranges = healpix.cover(ra, dec, (radius + _FASTEST) / 3600.0)
    columns = ("id", "ra", "dec", "pmra", "pmdec", "epoch", "n_obs")
    statement = select(*(col(getattr(Source, name)) for name in columns)).where(in_ranges(ranges))
    rows = session.connection().execute(statement.order_by(col(Source.id))).all()
    table = [np.array(values, float) for values in zip(*rows, strict=True)] or [np.empty(0)] * len(columns)
    years = epoch - table[5]
    # Right ascension runs away at the pole; there the proper motion is as good as none.
    cos_dec = np.maximum(np.cos(np.radians(table[2])), 1e-6)
    return SourceRows(
        ids=table[0].astype(np.int64),
        ra=(table[1] + years * table[3] / _MAS_PER_DEGREE / cos_dec) % 360.0,
        dec=np.clip(table[2] + years * table[4] / _MAS_PER_DEGREE, -90.0, 90.0),
        n_obs=table[6].astype(np.int64),
    )


def identify(
    session: Session,
    ra: NDArray[np.floating],
    dec: NDArray[np.floating],
    flags: NDArray[np.integer],
    *,
    radius: float,
    epoch: float,
) -> tuple[NDArray[np.int64], int]:
    """Return the source of each detection of a frame, 0 for none, and how many sources are new.

    The caller has the association to itself until the transaction ends.

    Parameters
    ----------
    ra, dec : ndarray of float, shape (n,)
        ICRS degrees; NaN has no source.
    flags : ndarray of int, shape (n,)
        Bits of `nightflow.flags.Flag`.
    radius : float
        Arcsec.
    epoch : float
        Julian year of the frame.
    """
    found = np.zeros(len(ra), np.int64)
    solved = np.isfinite(ra) & np.isfinite(dec)
    if not solved.any():
        return found, 0
    known = sources_around(session, ra[solved], dec[solved], radius, epoch)
    matched = associate(ra, dec, known.ra, known.dec, radius).source
    found[matched >= 0] = known.ids[matched[matched >= 0]]
    new = solved & (matched < 0) & ((flags & _DOUBTFUL) == 0)
    found[new] = _add(session, ra[new], dec[new], epoch)
    return found, int(new.sum())


def count_observation(session: Session, reduction_id: int, change: int) -> None:
    """Add ``change`` to ``n_obs`` of the sources that a reduction detected."""
    seen = select(col(Measurement.source_id)).where(
        col(Measurement.reduction_id) == reduction_id, col(Measurement.source_id).is_not(None)
    )
    session.connection().execute(
        update(Source).where(col(Source.id).in_(seen)).values(n_obs=col(Source.n_obs) + change)
    )


def _add(session: Session, ra: NDArray[np.floating], dec: NDArray[np.floating], epoch: float) -> list[int]:
    if not len(ra):
        return []
    rows = [
        {"ra": float(a), "dec": float(d), "epoch": epoch, "healpix": int(p)}
        for a, d, p in zip(ra, dec, healpix.pixel(ra, dec), strict=True)
    ]
    statement = insert(Source).returning(col(Source.id), sort_by_parameter_order=True)
    ids = session.connection().execute(statement, rows).scalars().all()
    return [one for one in ids if one is not None]
