"""Leases: who reduces which exposure, for how long.

A lease that is not renewed ends by itself, so that what a dead process held is taken up again. No two
workers get the same exposure: SQLite has one writer at a time, Postgres skips rows that another worker is
taking.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, update
from sqlmodel import Session, col, select

from nightflow.store.database import Database
from nightflow.store.models import Exposure, State

__all__ = ["SUSPECT_AFTER", "is_suspect", "lease", "lease_exposure", "release", "renew"]

SUSPECT_AFTER = 5
"""Deaths of a service that an exposure saw, after which it may be the one that kills."""


def lease(
    database: Database,
    worker: str,
    *,
    now: datetime,
    seconds: float,
    but: Collection[int] = (),
    suspects: bool = True,
) -> Exposure | None:
    """Take the most urgent exposure that is ready: by priority, then by age; suspects come last.

    Ready are those received, those held or received whose ``retry_at`` has passed, and those whose lease has
    ended.

    Parameters
    ----------
    worker : str
        Who takes it; unique to a process.
    now : datetime
        Aware.
    seconds : float
        How long the lease lasts, if it is not renewed.
    but : collection of int
        Exposures that are not taken, although their lease may have ended: the worker has them in work.
    suspects : bool
        Whether one may be taken that has seen `SUSPECT_AFTER` deaths or more.

    Returns
    -------
    Exposure or None
        Now in state ``reducing``; None where nothing is ready.
    """
    free = and_(_ready(now), col(Exposure.id).not_in(list(but)))
    if not suspects:
        free = and_(free, col(Exposure.attempts) < SUSPECT_AFTER)
    return _take(database, free, worker, now, seconds)


def is_suspect(exposure: Exposure) -> bool:
    """Return whether an exposure has seen so many deaths that it had better be reduced alone."""
    return exposure.attempts >= SUSPECT_AFTER


def lease_exposure(
    database: Database, exposure_id: int, worker: str, *, now: datetime, seconds: float
) -> Exposure | None:
    """Take this exposure, where it is received, held, or its lease has ended or is the worker's own.

    Returns
    -------
    Exposure or None
        None where another worker holds it, or it is settled (`nightflow.store.ledger.requeue` puts it back).
    """
    free = or_(
        col(Exposure.state).in_([State.RECEIVED, State.HELD]),
        and_(
            col(Exposure.state) == State.REDUCING,
            or_(col(Exposure.lease_until) <= now, col(Exposure.leased_by) == worker),
        ),
    )
    return _take(database, and_(col(Exposure.id) == exposure_id, free), worker, now, seconds)


def renew(database: Database, exposure_id: int, worker: str, *, now: datetime, seconds: float) -> bool:
    """Prolong the worker's lease; False where it has lost it."""
    return _change(database, exposure_id, worker, {"lease_until": now + timedelta(seconds=seconds)})


def release(
    database: Database, exposure_id: int, worker: str | None = None, *, after_death: bool = False
) -> bool:
    """Hand an exposure back unreduced; False where nobody (or not ``worker``) holds it.

    ``after_death`` counts one attempt more: its holder died.
    """
    values: dict[str, Any] = {"state": State.RECEIVED, "leased_by": None, "lease_until": None}
    if after_death:
        values["attempts"] = col(Exposure.attempts) + 1
    return _change(database, exposure_id, worker, values)


def _ready(now: datetime) -> ColumnElement[bool]:
    due = col(Exposure.retry_at) <= now
    return or_(
        and_(col(Exposure.state) == State.RECEIVED, or_(col(Exposure.retry_at).is_(None), due)),
        and_(col(Exposure.state) == State.HELD, due),
        and_(col(Exposure.state) == State.REDUCING, col(Exposure.lease_until) <= now),
    )


def _take(
    database: Database, condition: ColumnElement[bool], worker: str, now: datetime, seconds: float
) -> Exposure | None:
    with database.write() as session:
        exposure = _next(session, condition)
        if exposure is not None:
            exposure.state = State.REDUCING
            exposure.leased_by = worker
            exposure.lease_until = now + timedelta(seconds=seconds)
            exposure.retry_at = None
            exposure.done_at = None
        return exposure


def _next(session: Session, condition: ColumnElement[bool]) -> Exposure | None:
    return session.exec(
        select(Exposure)
        .where(condition)
        .order_by(
            case((col(Exposure.attempts) >= SUSPECT_AFTER, 1), else_=0),
            col(Exposure.priority),
            col(Exposure.received_at),
            col(Exposure.id),
        )
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()


def _change(database: Database, exposure_id: int, worker: str | None, values: dict[str, Any]) -> bool:
    statement = update(Exposure).where(col(Exposure.id) == exposure_id, col(Exposure.state) == State.REDUCING)
    if worker is not None:
        statement = statement.where(col(Exposure.leased_by) == worker)
    with database.write() as session:
        return session.connection().execute(statement.values(**values)).rowcount == 1
