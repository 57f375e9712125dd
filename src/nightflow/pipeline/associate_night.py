"""The association of a night: all its frames at once, in an order that does not depend on what came first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlmodel import Session, col, select

from nightflow.catalogs.local import LocalCatalogs
from nightflow.config import AssociationSettings
from nightflow.errors import RetryLater
from nightflow.lightcurves.field_night import Rules
from nightflow.lightcurves.night import NONE, associate_night
from nightflow.pipeline.night_names import night_names
from nightflow.store.database import Database, serialise
from nightflow.store.models import Target
from nightflow.store.movers import MoverRecord, mover_records, write_movers
from nightflow.store.night_association import FieldSources, field_sources, write_association
from nightflow.store.night_fields import ReducedFrame, StoredField, field_groups, read_field, solved_frames

__all__ = ["NightSources", "associate"]

_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class NightSources:
    """What came of it.

    Attributes
    ----------
    n_detections, n_loose : int
        Detections with a place on the sky, and those that belong to no source.
    n_sources, n_only_tonight : int
        Sources that were seen, and those of them that no other night sees.
    n_movers : int
        Bodies that move.
    fastest : float
        Arcsec an hour up to which bodies were looked for in every field: that of the settings, or less where
        one has too many loose detections for it.
    fields : tuple of tuple of int
        The sources that were seen, or were before, field by field: their statistics are to be made anew.
    changed : bool
        Whether a row was changed.
    """

    n_detections: int
    n_loose: int
    n_sources: int
    n_only_tonight: int
    n_movers: int
    fastest: float
    fields: tuple[tuple[int, ...], ...]
    changed: bool


@dataclass(frozen=True, kw_only=True)
class _FieldDone:
    n_detections: int
    n_loose: int
    fastest: float
    records: list[MoverRecord]
    source_ids: tuple[int, ...]
    only_tonight: tuple[int, ...]
    lost_ids: tuple[int, ...]
    changed: bool


def associate(
    database: Database,
    night: str,
    settings: AssociationSettings,
    *,
    now: datetime,
    catalogs: LocalCatalogs | None = None,
) -> NightSources:
    """Give each detection of a night to its source and find what moves; again changes nothing.

    Parameters
    ----------
    night : str
        Date of the evening.
    now : datetime
        Aware; for the history of the sources.
    catalogs : LocalCatalogs, optional
        For the stars that the sources are; without, they keep those that single frames found.

    Raises
    ------
    RetryLater
        The store is locked or away, or frames of the night came in all the while.
    """
    for _ in range(_ATTEMPTS):
        fields = _all_fields(database, night, settings, now, catalogs)
        if fields is not None:
            break
    else:
        raise RetryLater(
            f"night {night}: frames of it come in while it is put in order; run `nightflow finish {night}` "
            "again when it is over"
        )
    records = [record for one in fields for record in one.records]
    with database.write() as session:
        serialise(session, "association")
        changed = write_movers(session, night, records)
    return NightSources(
        n_detections=sum(one.n_detections for one in fields),
        n_loose=sum(one.n_loose for one in fields),
        n_sources=len({one for done in fields for one in done.source_ids}),
        n_only_tonight=len({one for done in fields for one in done.only_tonight}),
        n_movers=len(records),
        fastest=min((one.fastest for one in fields), default=settings.fastest_arcsec_per_hour),
        fields=tuple(one.source_ids + one.lost_ids for one in fields),
        changed=changed or any(one.changed for one in fields),
    )


def _all_fields(
    database: Database,
    night: str,
    settings: AssociationSettings,
    now: datetime,
    catalogs: LocalCatalogs | None,
) -> list[_FieldDone] | None:
    """Return what came of each field; None where a frame came in meanwhile."""
    with database.session() as session:
        frames = solved_frames(session, night)
        targets = list(session.exec(select(Target).where(col(Target.ephemeris).is_not(None))))
    done = []
    for group in field_groups(frames):
        one = _field(database, group, frames, night, settings, targets, now, catalogs)
        if one is None:
            return None
        done.append(one)
    return done


def _field(
    database: Database,
    group: Sequence[ReducedFrame],
    frames: Sequence[ReducedFrame],
    night: str,
    settings: AssociationSettings,
    targets: Sequence[Target],
    now: datetime,
    catalogs: LocalCatalogs | None,
) -> _FieldDone | None:
    """Read and think without a lock, then write if nothing has changed meanwhile."""
    with database.session() as session:
        field = read_field(session, group)
        if not len(field.night):
            # Reduced up to the WCS and not further.
            return _nothing(settings)
        sources = field_sources(session, field)
    rules = Rules(
        radius=settings.radius_arcsec or field.radius,
        least=settings.least_detections,
        fraction=settings.least_fraction,
        fastest=settings.fastest_arcsec_per_hour,
    )
    found = associate_night(field.night, sources.known(), rules)
    named = None if catalogs is None else night_names(database, catalogs, field, found.source)
    with database.write() as session:
        serialise(session, "association")
        if not _is_as_read(session, frames, night, field, sources):
            return None
        written = write_association(session, field, sources, found, night=night, now=now, named=named)
    return _FieldDone(
        n_detections=len(field.night),
        n_loose=int((found.source == NONE).sum()) - sum(len(body.rows) for body in found.bodies),
        fastest=found.fastest,
        records=mover_records(field, found, targets),
        source_ids=written.source_ids,
        only_tonight=written.only_tonight,
        lost_ids=written.lost_ids,
        changed=written.changed,
    )


def _nothing(settings: AssociationSettings) -> _FieldDone:
    return _FieldDone(
        n_detections=0,
        n_loose=0,
        fastest=settings.fastest_arcsec_per_hour,
        records=[],
        source_ids=(),
        only_tonight=(),
        lost_ids=(),
        changed=False,
    )


def _is_as_read(
    session: Session, frames: Sequence[ReducedFrame], night: str, field: StoredField, sources: FieldSources
) -> bool:
    """Return whether the night has the frames, and the field the sources, that it had: no more, no fewer."""
    if solved_frames(session, night) != list(frames):
        return False
    again = field_sources(session, field)
    return all(
        np.array_equal(getattr(again.rows, name), getattr(sources.rows, name))
        for name in ("ids", "n_obs", "n_position")
    )
