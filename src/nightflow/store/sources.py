"""Persistent sources: which of them a frame saw, and new ones for what it saw first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, case, exists, insert, or_, select, update
from sqlmodel import Session, col

from nightflow.flags import Flag
from nightflow.lightcurves.associate import associate
from nightflow.store import healpix
from nightflow.store.bulk import read_numbers
from nightflow.store.models import Exposure, Frame, Measurement, Source, SourceStatistics, is_detection
from nightflow.store.records import CatalogIdentity
from nightflow.store.source_names import free_names

__all__ = [
    "Detections", "Identified", "SourceRows", "concluded_sources", "confirmed_sources", "count_observation",
    "identify", "in_ranges", "insert_sources", "moved_to", "sources_around", "taken_names",
]  # fmt: skip

_MAS_PER_DEGREE = 3.6e6
_FASTEST = 60.0
"""Arcsec that a source may have moved since its epoch and still be found."""

_DOUBTFUL = int(Flag.BAD | Flag.HOT | Flag.COSMIC_RAY | Flag.DEAD | Flag.TRAIL | Flag.PERSISTENCE)
"""A detection with any of these may be seen on a known source, but makes no new one."""


_AT_ONCE = 500
"""Numbers in one statement."""


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Detections of one frame as columns of equal length n.

    Attributes
    ----------
    number : ndarray of int, shape (n,)
        On the frame, from 0.
    ra, dec : ndarray of float, shape (n,)
        ICRS degrees; NaN has no source.
    reach : ndarray of float, shape (n,)
        How far from its source each may lie, arcsec.
    flags : ndarray of int, shape (n,)
        Bits of `nightflow.flags.Flag`.
    catalog : CatalogIdentity or None
    """

    number: NDArray[np.integer]
    ra: NDArray[np.floating]
    dec: NDArray[np.floating]
    reach: NDArray[np.floating]
    flags: NDArray[np.integer]
    catalog: CatalogIdentity | None = None


@dataclass(frozen=True, kw_only=True)
class Identified:
    """Sources of n detections.

    Attributes
    ----------
    source : ndarray of int64, shape (n,)
        Number of the source, 0 for none.
    ambiguous : ndarray of bool, shape (n,)
        See `nightflow.lightcurves.associate.Association`.
    n_new : int
        How many sources were made for them.
    """

    source: NDArray[np.int64]
    ambiguous: NDArray[np.bool_]
    n_new: int


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
    epoch : ndarray of float64, shape (n,)
        Julian year of the place in the store.
    n_position : ndarray of int64, shape (n,)
        Detections that the place rests on; 0: no night's association has settled it.
    in_catalog : ndarray of bool, shape (n,)
        Whether it is known as a star of a catalogue.
    """

    ids: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    epoch: NDArray[np.float64]
    n_obs: NDArray[np.int64]
    n_position: NDArray[np.int64]
    in_catalog: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


def in_ranges(ranges: list[tuple[int, int]]) -> ColumnElement[bool]:
    """Return the condition that a source lies in one of these ranges of HEALPix pixels."""
    return or_(*(col(Source.healpix).between(first, last) for first, last in ranges))


def sources_around(
    session: Session, ra: NDArray[np.floating], dec: NDArray[np.floating], radius: float, epoch: float
) -> SourceRows:
    """Return the sources that may lie within ``radius`` arcsec of any of these places, moved to ``epoch``."""
    return _read(session, in_ranges(healpix.cover(ra, dec, (radius + _FASTEST) / 3600.0)), epoch)


def confirmed_sources(session: Session, ra: float, dec: float, radius: float, epoch: float) -> SourceRows:
    """Return the sources within about ``radius`` degrees that are surely there, moved to ``epoch``.

    They were detected more than once, stand in a catalogue, or a night's association has settled them.
    """
    confirmed = or_(col(Source.n_obs) > 1, col(Source.catalog) != "", col(Source.n_position) > 0)
    inside = in_ranges(healpix.cone(ra, dec, radius))
    return _read(session, and_(inside, confirmed, col(Source.n_obs) > 0), epoch)


def concluded_sources(
    session: Session, ra: float, dec: float, radius: float, before: float
) -> NDArray[np.int64]:
    """Return the sources within about ``radius`` degrees that finished nights saw before an MJD."""
    inside = in_ranges(healpix.cone(ra, dec, radius))
    seen = exists().where(
        col(SourceStatistics.source_id) == col(Source.id), col(SourceStatistics.mjd_first) < before
    )
    return read_numbers(session, select(col(Source.id)).where(inside, seen))[0].astype(np.int64)


def _read(session: Session, condition: ColumnElement[bool], epoch: float) -> SourceRows:
    """Return the sources that meet a condition, moved to ``epoch``."""
    numbers = ("ra", "dec", "pmra", "pmdec", "epoch")
    statement = select(
        col(Source.id),
        *(col(getattr(Source, name)) for name in numbers),
        col(Source.n_obs),
        col(Source.n_position),
        case((col(Source.catalog) != "", 1), else_=0),
    ).where(condition)
    # The numbers of sources have 53 bits: a double holds each.
    table = read_numbers(session, statement)
    table = table[:, np.argsort(table[0])]
    ra, dec = moved_to(epoch, *table[1:6])
    return SourceRows(
        ids=table[0].astype(np.int64),
        ra=ra,
        dec=dec,
        epoch=table[5],
        n_obs=table[6].astype(np.int64),
        n_position=table[7].astype(np.int64),
        in_catalog=table[8] > 0,
    )


def moved_to(
    epoch: float | NDArray[np.floating],
    ra: NDArray[np.floating],
    dec: NDArray[np.floating],
    pmra: NDArray[np.floating],
    pmdec: NDArray[np.floating],
    since: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places in degrees, moved by their proper motion (mas/yr) from one Julian year to another."""
    years = epoch - since
    # Right ascension runs away at the pole; there the proper motion is as good as none.
    cos_dec = np.maximum(np.cos(np.radians(dec)), 1e-6)
    new_ra = (ra + years * pmra / _MAS_PER_DEGREE / cos_dec) % 360.0
    return new_ra, np.clip(dec + years * pmdec / _MAS_PER_DEGREE, -90.0, 90.0)


def identify(session: Session, frame_id: int, detections: Detections, epoch: float) -> Identified:
    """Return the source of each detection of a frame; those that are seen first get a new one.

    The caller has the association to itself until the transaction ends.

    Parameters
    ----------
    frame_id : int
        The frame's row: new sources are named after it.
    detections : Detections
    epoch : float
        Julian year of the frame.
    """
    ra, dec = detections.ra, detections.dec
    found = np.zeros(len(ra), np.int64)
    solved = np.isfinite(ra) & np.isfinite(dec)
    if not solved.any():
        return Identified(source=found, ambiguous=np.zeros(len(ra), bool), n_new=0)
    farthest = float(detections.reach[solved].max())
    known = sources_around(session, ra[solved], dec[solved], farthest, epoch)
    matched = associate(ra, dec, known.ra, known.dec, detections.reach)
    old = matched.source >= 0
    found[old] = known.ids[matched.source[old]]
    _enter_in_catalog(session, detections.catalog, found, old, known.in_catalog, matched.source)
    new = np.flatnonzero(solved & ~old & ((detections.flags & _DOUBTFUL) == 0))
    found[new] = _add(session, frame_id, detections, new, epoch)
    return Identified(source=found, ambiguous=matched.ambiguous, n_new=len(new))


def count_observation(session: Session, reduction_id: int, change: int, mjd_mid: float | None = None) -> None:
    """Add ``change`` to ``n_obs`` of the sources that a reduction detected.

    Where the time of its measurements is given, Postgres looks into that month only.
    """
    seen = select(col(Measurement.source_id)).where(
        col(Measurement.reduction_id) == reduction_id,
        col(Measurement.source_id).is_not(None),
        is_detection(),
    )
    if mjd_mid is not None:
        seen = seen.where(col(Measurement.mjd_mid) == mjd_mid)
    session.connection().execute(
        update(Source).where(col(Source.id).in_(seen)).values(n_obs=col(Source.n_obs) + change)
    )


def taken_names(session: Session, names: NDArray[np.integer]) -> set[int]:
    """Return which of these numbers are those of sources already."""
    taken: set[int] = set()
    for start in range(0, len(names), _AT_ONCE):
        some = [int(one) for one in names[start : start + _AT_ONCE]]
        taken.update(
            one for one in session.scalars(select(col(Source.id)).where(col(Source.id).in_(some))) if one
        )
    return taken


def insert_sources(session: Session, rows: list[dict[str, object]]) -> None:
    """Insert sources given as columns without `healpix`, which follows from their place."""
    if not rows:
        return
    ra, dec = (np.array([row[name] for row in rows], float) for name in ("ra", "dec"))
    for row, pixel in zip(rows, healpix.pixel(ra, dec).tolist(), strict=True):
        row["healpix"] = pixel
    session.connection().execute(insert(Source), rows)


def _add(
    session: Session, frame_id: int, detections: Detections, new: NDArray[np.intp], epoch: float
) -> NDArray[np.int64]:
    if not len(new):
        return np.empty(0, np.int64)
    sha256, detector = (
        session.connection()
        .execute(
            select(col(Exposure.sha256), col(Frame.detector))
            .join(Frame, col(Frame.exposure_id) == col(Exposure.id))
            .where(col(Frame.id) == frame_id)
        )
        .one()
    )
    numbers = detections.number[new]
    # An earlier reduction of the frame may have named other stars by the same detection numbers.
    names = free_names(sha256, detector, numbers, set())
    taken: set[int] = set()
    while more := taken_names(session, names):
        taken |= more
        names = free_names(sha256, detector, numbers, taken)
    insert_sources(
        session,
        [
            {"id": name, "ra": ra, "dec": dec, "epoch": epoch, "n_obs": 0, "n_position": 0} | catalogued
            for name, ra, dec, catalogued in zip(
                names.tolist(),
                detections.ra[new].tolist(),
                detections.dec[new].tolist(),
                _catalogued(detections.catalog, new),
                strict=True,
            )
        ],
    )
    return names


_UNKNOWN = {"pmra": 0.0, "pmdec": 0.0, "catalog": "", "catalog_id": ""}


def _catalogued(catalog: CatalogIdentity | None, rows: NDArray[np.intp]) -> list[dict[str, object]]:
    """Return what the catalogue says of each detection, as columns of a source."""
    if catalog is None:
        return [dict(_UNKNOWN) for _ in rows]
    return [
        {
            "pmra": float(catalog.pmra[row]),
            "pmdec": float(catalog.pmdec[row]),
            "catalog": catalog.catalog,
            "catalog_id": str(catalog.ids[row]),
        }
        if catalog.known[row]
        else dict(_UNKNOWN)
        for row in rows
    ]


def _enter_in_catalog(
    session: Session,
    catalog: CatalogIdentity | None,
    found: NDArray[np.int64],
    old: NDArray[np.bool_],
    in_catalog: NDArray[np.bool_],
    partner: NDArray[np.intp],
) -> None:
    """Note which sources of before a catalogue knows, that was not there when they were made."""
    if catalog is None:
        return
    rows = np.flatnonzero(old & catalog.known)
    rows = rows[~in_catalog[partner[rows]]]
    for row, values in zip(rows, _catalogued(catalog, rows), strict=True):
        session.connection().execute(update(Source).where(col(Source.id) == int(found[row])).values(**values))
