"""The association of a night, written: which detection belongs to which source, and what became of sources.

Only what is different is written: again on an unchanged night nothing is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, delete, update
from sqlmodel import Session, col, select

from nightflow.flags import Flag
from nightflow.lightcurves.field_night import KnownSources
from nightflow.lightcurves.night import NONE, AssociatedNight
from nightflow.store import healpix
from nightflow.store.forced_rows import attach_forced
from nightflow.store.models import (
    Measurement,
    Reduction,
    Source,
    SourceStatistics,
    is_detection,
)
from nightflow.store.night_fields import StoredField
from nightflow.store.source_history import CONFIRMED, put_history
from nightflow.store.source_names import free_names
from nightflow.store.sources import SourceRows, insert_sources, sources_around, taken_names

__all__ = [
    "NIGHT_ASSOCIATION",
    "NO_STAR",
    "CatalogStar",
    "FieldSources",
    "Written",
    "field_sources",
    "write_association",
]

NIGHT_ASSOCIATION = 2
"""Version of the association that looks at all frames of a night at once."""

_AMBIGUOUS = int(Flag.AMBIGUOUS)
_AT_ONCE = 400
_ROWS_AT_ONCE = 20_000
"""Rows that are made ready for one statement: for those of a whole night there may be no room."""
_SAME_NIGHT = 0.5 / 365.25
"""Years between the middles of two sets of frames of one night, less than."""


@dataclass(frozen=True, kw_only=True)
class FieldSources:
    """The sources that the store has in a field, split by who decides about them.

    Attributes
    ----------
    rows : SourceRows
        All of them, at the time of the night.
    tonight : ndarray of int64, shape (m,)
        Detections of this night that each has now.
    is_known : ndarray of bool, shape (m,)
        Those that other nights see, or that an earlier association of this one has settled. The others exist
        by this night alone: they are made anew.
    """

    rows: SourceRows
    tonight: NDArray[np.int64]
    is_known: NDArray[np.bool_]

    @property
    def known_ids(self) -> NDArray[np.int64]:
        """Numbers of the known ones, in the order of `known`."""
        return self.rows.ids[self.is_known]

    @property
    def elsewhere(self) -> NDArray[np.bool_]:
        """Whether other nights see each."""
        return self.rows.n_obs > self.tonight

    def known(self) -> KnownSources:
        """Return their places."""
        stars = self.rows.in_catalog
        return KnownSources(
            ra=self.rows.ra[self.is_known],
            dec=self.rows.dec[self.is_known],
            stands=self.elsewhere[self.is_known],
            star_ra=self.rows.ra[stars],
            star_dec=self.rows.dec[stars],
        )


class CatalogStar(NamedTuple):
    """A star of a catalogue; in the order of catalogues and names.

    Attributes
    ----------
    catalog, catalog_id : str
        Name of the catalogue, and of the star in it, "" where it has none.
    ra, dec : float
        ICRS degrees at the catalogue's epoch: they tell stars without a name apart.
    pmra, pmdec : float
        mas/yr, pmra with the cosine of the declination in it.
    """

    catalog: str
    catalog_id: str
    ra: float
    dec: float
    pmra: float
    pmdec: float

    def values(self) -> dict[str, Any]:
        """Return the columns of a source."""
        return {name: getattr(self, name) for name in _UNKNOWN}


NO_STAR = CatalogStar(catalog="", catalog_id="", ra=0.0, dec=0.0, pmra=0.0, pmdec=0.0)
"""What a source is that was looked for in a catalogue and stands in none."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was changed.

    Attributes
    ----------
    n_moved : int
        Detections that belong to another source now, or to none, or to one for the first time.
    n_new, n_gone : int
        Sources that are new, and that are no longer.
    source_ids, only_tonight, lost_ids : tuple of int
        Sources that were seen; those of them that no other night sees; and those of other nights that this
        one saw before and no longer does.
    changed : bool
        Whether a row was changed.
    """

    n_moved: int
    n_new: int
    n_gone: int
    source_ids: tuple[int, ...]
    only_tonight: tuple[int, ...]
    lost_ids: tuple[int, ...]
    changed: bool


def field_sources(session: Session, field: StoredField) -> FieldSources:
    """Return the sources of the store that detections of a field may belong to."""
    night = field.night
    rows = sources_around(session, night.ra, night.dec, float(night.reach.max(initial=1.0)), field.epoch)
    tonight = _counted(field.source, rows.ids)
    is_known = (rows.n_obs > tonight) | (rows.n_position > 0)
    return FieldSources(rows=rows, tonight=tonight, is_known=is_known)


def _counted(source: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many detections belong to each of these sources."""
    seen, number = np.unique(source, return_counts=True)
    place = np.searchsorted(seen, ids).clip(0, max(len(seen) - 1, 0))
    return np.where(seen[place] == ids, number[place], 0) if len(seen) else np.zeros(len(ids), np.int64)


def write_association(
    session: Session,
    field: StoredField,
    sources: FieldSources,
    found: AssociatedNight,
    *,
    night: str,
    now: datetime,
    named: Mapping[int, CatalogStar] | None = None,
) -> Written:
    """Write what is different. The caller has the association to itself until the transaction ends.

    One transaction a field, for rows, counts, places and the history of sources must agree: a source with a
    part of its rows only would be taken for one that other nights see. Interrupted, nothing of the field is
    written, and `finish` begins anew from what was there. What belongs to what was computed before; the lock
    is held for as long as the rows take that are different: 80,000 took 7 s on two busy cores.

    Parameters
    ----------
    field, sources
        As they are in the store in this transaction.
    found : AssociatedNight
        What follows from them.
    night : str
        For the history.
    now : datetime
        Aware.
    named : mapping of int to CatalogStar, optional
        The stars that sources are, or `NO_STAR`, by their index in ``found``. Of those that are not in it new
        ones are what the sources were that their detections belonged to, and known ones stay what they are.
    """
    made_anew = sources.rows.ids[~sources.is_known]
    names = _names(session, field, found, made_anew, len(sources.known_ids))
    ids = np.concatenate([sources.known_ids, names])
    source = np.where(found.source == NONE, 0, np.append(ids, 0)[found.source])
    count = np.bincount(found.source[found.source != NONE], minlength=len(ids))
    changed = (source != field.source) | (found.ambiguous != ((field.night.flags & _AMBIGUOUS) != 0))
    n_new, n_updated = _put_sources(session, field, sources, found, ids, count, named)
    _put_rows(session, field, source, found.ambiguous, np.flatnonzero(changed))
    gone = _without_measurements(session, _gone(sources, ids, count))
    put_history(session, field, sources.rows, source, gone, night, now)
    _drop(session, gone)
    n_attached = attach_forced(session, field.frames, NIGHT_ASSOCIATION)
    before = sources.rows.ids[sources.tonight > 0]
    return Written(
        n_moved=int((source != field.source).sum()),
        n_new=n_new,
        n_gone=len(gone),
        source_ids=tuple(ids[count > 0].tolist()),
        only_tonight=tuple(np.setdiff1d(ids[count > 0], sources.rows.ids[sources.elsewhere]).tolist()),
        lost_ids=tuple(np.setdiff1d(before, np.append(gone, ids[count > 0])).tolist()),
        changed=bool(changed.any() or n_new or n_updated or len(gone) or n_attached),
    )


def _names(
    session: Session, field: StoredField, found: AssociatedNight, made_anew: NDArray[np.int64], n_known: int
) -> NDArray[np.int64]:
    """Return the numbers of the new sources: those of their first detections."""
    rows = np.flatnonzero(found.source >= n_known)
    _, first = np.unique(found.source[rows], return_index=True)
    first = rows[first]
    names = np.empty(len(first), np.int64)
    used: set[int] = set()
    for frame in np.unique(field.night.frame[first]):
        here = np.flatnonzero(field.night.frame[first] == frame)
        of = field.frames[int(frame)]
        numbers = field.number[first[here]]
        taken: set[int] = set(used)
        while True:
            names[here] = free_names(of.sha256, of.detector, numbers, taken)
            foreign = taken_names(session, names[here]) - set(made_anew.tolist())
            if not foreign - taken:
                break
            taken |= foreign
        used |= set(names[here].tolist())
    return names


def _gone(sources: FieldSources, ids: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of sources that nothing belongs to any longer."""
    seen = set(ids[count > 0].tolist())
    left = [one in seen for one in sources.rows.ids.tolist()]
    return sources.rows.ids[~sources.elsewhere & ~np.array(left, bool)]


def _without_measurements(session: Session, gone: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those to which no current measurement belongs.

    By the counts none does; but were a count wrong, a light curve would lose its points with the source.
    """
    still: set[int] = set()
    for start in range(0, len(gone), _AT_ONCE):
        some = [int(one) for one in gone[start : start + _AT_ONCE]]
        current = (
            select(col(Measurement.source_id))
            .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
            .where(col(Measurement.source_id).in_(some), col(Reduction.current), is_detection())
            .distinct()
        )
        still.update(one for one in session.exec(current) if one is not None)
    return gone[~np.isin(gone, list(still))]


def _put_sources(
    session: Session,
    field: StoredField,
    sources: FieldSources,
    found: AssociatedNight,
    ids: NDArray[np.int64],
    count: NDArray[np.int64],
    named: Mapping[int, CatalogStar] | None,
) -> tuple[int, int]:
    """Insert new sources and update those that differ; return how many there are of each."""
    stored = sources.rows
    place = {one: row for row, one in enumerate(stored.ids.tolist())}
    pixels = healpix.pixel(found.ra, found.dec) if len(ids) else np.empty(0, np.int64)
    named = named or {}
    fresh_ones = range(len(sources.known_ids), len(ids))
    is_complete = all(index in named for index in fresh_ones if count[index])
    catalogued = ({} if is_complete else _catalog_entries(session, field, found)) | _values(named)
    known = [index for index in named if index < len(sources.known_ids)]
    entered = _entered(session, sources.known_ids[known])
    fresh: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    counted: list[dict[str, Any]] = []
    for index, one in enumerate(ids.tolist()):
        if not count[index] and index >= len(sources.known_ids):
            continue
        row = place.get(one)
        where = {
            "ra": float(found.ra[index]),
            "dec": float(found.dec[index]),
            "epoch": field.epoch,
            "n_position": int(count[index]) if count[index] >= CONFIRMED else 0,
        }
        if row is None:
            fresh.append({"id": one, "n_obs": int(count[index])} | where | catalogued.get(index, _UNKNOWN))
            continue
        n_obs = int(stored.n_obs[row] - sources.tonight[row] + count[index])
        anew = index >= len(sources.known_ids)
        if anew:
            identity = catalogued.get(index, _UNKNOWN)
        elif index in named and _decides(where, stored, row, field.epoch):
            # The night that says where a source is says which star it is.
            identity = catalogued[index] if catalogued[index] != entered[one] else {}
        else:
            identity = {}
        if anew or identity or _is_better(where, stored, row, field.epoch):
            moved.append({"one": one, "n_obs": n_obs, "healpix": int(pixels[index])} | where | identity)
        elif n_obs != stored.n_obs[row]:
            counted.append({"one": one, "n_obs": n_obs})
    insert_sources(session, fresh)
    for rows in (moved, counted):
        _update_sources(session, rows)
    return len(fresh), len(moved) + len(counted)


def _is_better(where: dict[str, Any], stored: SourceRows, row: int, epoch: float) -> bool:
    """Return whether a night's place of a known source is to be written."""
    there = (stored.ra[row], stored.dec[row], stored.epoch[row], stored.n_position[row])
    is_other = there != (where["ra"], where["dec"], where["epoch"], where["n_position"])
    return bool(is_other and _decides(where, stored, row, epoch))


def _decides(where: dict[str, Any], stored: SourceRows, row: int, epoch: float) -> bool:
    """Return whether it is this night that says where a source is.

    It has more detections of it, or as many and is the earlier one, so that it does not matter which of them
    is finished first; or what is in the store is its own, of frames as they were before. Nights of one middle
    are one night.
    """
    if not where["n_position"]:
        return False
    if stored.n_position[row] and abs(stored.epoch[row] - epoch) < _SAME_NIGHT:
        return True
    return bool((where["n_position"], -epoch) > (stored.n_position[row], -stored.epoch[row]))


_UNKNOWN: dict[str, Any] = {"pmra": 0.0, "pmdec": 0.0, "catalog": "", "catalog_id": ""}


def _update_sources(session: Session, rows: list[dict[str, Any]]) -> None:
    for keys in {tuple(sorted(row)) for row in rows}:
        some = [row for row in rows if tuple(sorted(row)) == keys]
        values: dict[str, Any] = {name: bindparam(name) for name in keys if name != "one"}
        table = Source.__table__  # type: ignore[attr-defined]
        statement = update(table).where(table.c.id == bindparam("one")).values(**values)
        session.connection().execute(statement, some)


def _catalog_entries(
    session: Session, field: StoredField, found: AssociatedNight
) -> dict[int, dict[str, Any]]:
    """Return what a catalogue says of each source, by way of the sources that its detections belonged to."""
    linked = (field.source > 0) & (found.source != NONE)
    old, number = np.unique(field.source[linked], return_inverse=True)
    entries: dict[int, dict[str, Any]] = {}
    for start in range(0, len(old), _AT_ONCE):
        some = [int(one) for one in old[start : start + _AT_ONCE]]
        columns = (col(Source.id), *(col(getattr(Source, name)) for name in _UNKNOWN))
        statement = select(*columns).where(col(Source.id).in_(some), col(Source.catalog) != "")
        for row in session.execute(statement):
            entries[row[0]] = dict(zip(_UNKNOWN, row[1:], strict=True))
    of_source: dict[int, dict[int, int]] = {}
    key, votes = np.unique(found.source[linked] * max(len(old), 1) + number, return_counts=True)
    for one, many in zip(key.tolist(), votes.tolist(), strict=True):
        index, place = divmod(one, len(old))
        if int(old[place]) in entries:
            of_source.setdefault(index, {})[int(old[place])] = many
    return {
        index: entries[min(votes, key=lambda one: (-votes[one], one))] for index, votes in of_source.items()
    }


def _values(named: Mapping[int, CatalogStar]) -> dict[int, dict[str, Any]]:
    return {index: star.values() for index, star in named.items()}


def _entered(session: Session, ids: NDArray[np.int64]) -> dict[int, dict[str, Any]]:
    """Return what the store says of sources' stars, as columns."""
    entered: dict[int, dict[str, Any]] = {}
    columns = (col(Source.id), *(col(getattr(Source, name)) for name in _UNKNOWN))
    for start in range(0, len(ids), _AT_ONCE):
        some = [int(one) for one in ids[start : start + _AT_ONCE]]
        for row in session.execute(select(*columns).where(col(Source.id).in_(some))):
            entered[row[0]] = dict(zip(_UNKNOWN, row[1:], strict=True))
    return entered


def _put_rows(
    session: Session,
    field: StoredField,
    source: NDArray[np.int64],
    ambiguous: NDArray[np.bool_],
    rows: NDArray[np.intp],
) -> None:
    """Update the rows that are different; all kinds of a detection alike."""
    table = Measurement.__table__  # type: ignore[attr-defined]
    bits = table.c.flags.op("&")(~_AMBIGUOUS).op("|")(bindparam("bit"))
    statement = (
        update(table)
        .where(
            table.c.reduction_id == bindparam("reduction"),
            table.c.number == bindparam("detection"),
            table.c.mjd_mid == bindparam("mjd"),
        )
        .values(source_id=bindparam("source"), association=NIGHT_ASSOCIATION, flags=bits)
    )
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        frames = [field.frames[one] for one in field.night.frame[some].tolist()]
        columns = (field.number[some].tolist(), source[some].tolist(), ambiguous[some].tolist())
        values = [
            {
                "reduction": frame.reduction_id,
                "mjd": frame.mjd_mid,
                "detection": number,
                "source": one or None,
                "bit": _AMBIGUOUS if doubt else 0,
            }
            for frame, number, one, doubt in zip(frames, *columns, strict=True)
        ]
        session.connection().execute(statement, values)


def _drop(session: Session, gone: Sequence[int] | NDArray[np.int64]) -> None:
    """Delete sources, and take their number from the rows of superseded reductions."""
    for start in range(0, len(gone), _AT_ONCE):
        some = [int(one) for one in gone[start : start + _AT_ONCE]]
        session.connection().execute(
            update(Measurement).where(col(Measurement.source_id).in_(some)).values(source_id=None)
        )
        session.connection().execute(
            delete(SourceStatistics).where(col(SourceStatistics.source_id).in_(some))
        )
        session.connection().execute(delete(Source).where(col(Source.id).in_(some)))
