"""Leases: who reduces which exposure, for how long.

A lease that is not renewed ends by itself, so that what a dead process held is taken up again. No two
workers get the same exposure: SQLite has one writer at a time, Postgres skips rows that another worker is
taking.

Live exposures come first, whatever waits besides: else a thousand of a backfill, all grown old together,
would keep them waiting for an hour. The others rise with the time they wait, so that none of them waits for
ever. Where live ones never leave a gap, the caller names those that have waited too long.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from nightflow.errors import NightflowError
from nightflow.store.database import Database
from nightflow.store.models import Exposure, Frame, Priority, State, UtcDateTime

__all__ = [
    "SUSPECT_AFTER",
    "LeaseLost",
    "check_holder",
    "check_lease",
    "hand_to_backfill",
    "is_live_in_work",
    "is_suspect",
    "lease",
    "lease_exposure",
    "lease_settled",
    "release",
    "renew",
    "waits_since",
]

SUSPECT_AFTER = 5
"""Deaths of a service that an exposure saw, after which it may be the one that kills."""
RISES_AFTER = timedelta(minutes=5)
"""Of waiting, after which an exposure that is not live is more urgent by a step."""
RISE = 5
"""Of its priority; ten are what a redo is before a backfill."""
RISES = 4
"""Steps at most: then a backfill is as urgent as the first redo, and the older one comes first."""

BATCH_AFTER = timedelta(minutes=2)
"""After which what a batch has queued is anybody's, unless one is at work: it lists all files first."""


class LeaseLost(NightflowError):  # noqa: N818  # named by what follows, as its base
    """Another process has the exposure now, or had it and settled it: what was found here does not count."""


def lease(
    database: Database,
    worker: str,
    *,
    now: datetime,
    seconds: float,
    but: Collection[int] = (),
    suspects: bool = True,
    patient: datetime | None = None,
    leave_batches: bool = False,
    least: int = Priority.LIVE,
    attempts_below: int | None = None,
) -> Exposure | None:
    """Take the most urgent exposure that is ready: by priority, then by age; suspects come last.

    Live ones come before all others, which rise with the time that they wait.

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
        Whether one may be taken that has seen `SUSPECT_AFTER` deaths of a service or more.
    patient : datetime, optional
        One that has waited since then or longer (since it was queued, or was due again) goes before live
        ones, this once.
    leave_batches : bool
        Leave to a batch (`run`, `backfill`) what it has queued, as long as one is at work: else two processes
        reduce it, and what is live waits for both.
    least : int
        Only of this priority, or less urgent.
    attempts_below : int, optional
        Only those of which fewer workers have died: the others may kill whoever takes them.

    Returns
    -------
    Exposure or None
        Now in state ``reducing``; None where nothing is ready.
    """
    free = and_(_ready(now), col(Exposure.id).not_in(list(but)), col(Exposure.priority) >= least)
    if not suspects:
        free = and_(free, col(Exposure.service_deaths) < SUSPECT_AFTER)
    if attempts_below is not None:
        free = and_(free, col(Exposure.attempts) < attempts_below)
    if leave_batches:
        free = and_(free, ~_of_a_batch(now, worker))
    return _take(database, free, _urgency(now, patient), worker, now, seconds)


def is_suspect(exposure: Exposure) -> bool:
    """Return whether an exposure has seen so many deaths that it had better be reduced alone."""
    return exposure.service_deaths >= SUSPECT_AFTER


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
    return _take(database, and_(col(Exposure.id) == exposure_id, free), [], worker, now, seconds)


def renew(database: Database, exposure_id: int, worker: str, *, now: datetime, seconds: float) -> bool:
    """Prolong the worker's lease; False where it has lost it."""
    return _change(database, exposure_id, worker, {"lease_until": now + timedelta(seconds=seconds)})


def lease_settled(
    database: Database,
    exposure_id: int,
    worker: str,
    *,
    now: datetime,
    seconds: float,
    frame_ids: Collection[int],
) -> bool:
    """Take an exposure that is settled, to reduce some of its frames again; the others stay as they are.

    Parameters
    ----------
    frame_ids : collection of int
        Rows of those that are.

    Returns
    -------
    bool
        False where it waits in the queue, or another worker has it: then all of it is reduced again anyway.
    """
    settled = (State.DONE, State.HELD, State.REJECTED, State.FAILED)
    condition = and_(col(Exposure.id) == exposure_id, col(Exposure.state).in_(settled))
    with database.write() as session:
        exposure = _next(session, condition, [])
        if exposure is None:
            return False
        _hand_over(exposure, worker, now, seconds)
        exposure.attempts, exposure.plan_fingerprint = 0, ""
        again = update(Frame).where(col(Frame.exposure_id) == exposure_id, col(Frame.id).in_(list(frame_ids)))
        session.connection().execute(again.values(state=State.RECEIVED, reason="", traceback=""))
        return True


def release(database: Database, exposure_id: int, worker: str | None = None) -> bool:
    """Hand an exposure back unreduced; False where nobody (or not ``worker``) holds it."""
    values = {"state": State.RECEIVED, "leased_by": None, "lease_until": None}
    return _change(database, exposure_id, worker, values)


def check_lease(session: Session, frame_id: int, worker: str | None) -> None:
    """Refuse to write what a worker found of a frame whose exposure it holds no more; None: nobody looks.

    Until the transaction ends nobody else gets the exposure.

    Raises
    ------
    LeaseLost
    """
    if worker is None:
        return
    held = (
        select(Exposure.id)
        .join(Frame, col(Frame.exposure_id) == col(Exposure.id))
        .where(Frame.id == frame_id, Exposure.state == State.REDUCING, Exposure.leased_by == worker)
    )
    if session.exec(held.with_for_update(read=True, of=Exposure)).first() is None:
        raise LeaseLost(f"frame {frame_id}: {worker} holds its exposure no more, nothing is written")


def check_holder(exposure: Exposure | None, worker: str | None) -> None:
    """Refuse what a worker would write of an exposure that it holds no more; None: nobody looks.

    Parameters
    ----------
    exposure : Exposure or None
        Its row, locked by the caller until all is written.

    Raises
    ------
    LeaseLost
    """
    if worker is None:
        return
    if exposure is None or exposure.state != State.REDUCING or exposure.leased_by != worker:
        number = exposure.id if exposure is not None else "that is not in the ledger"
        raise LeaseLost(f"exposure {number}: {worker} holds it no more, nothing is written")


def hand_to_backfill(database: Database, exposure_ids: Collection[int]) -> None:
    """Let a backfill take what waits of these exposures: no more changes, what was counted stays counted."""
    waits = col(Exposure.state).in_([State.RECEIVED, State.REDUCING])
    urgent = col(Exposure.priority) < Priority.BACKFILL
    statement = update(Exposure).where(col(Exposure.id).in_(list(exposure_ids)), waits, urgent)
    with database.write() as session:
        session.connection().execute(statement.values(priority=Priority.BACKFILL))


def _urgency(now: datetime, patient: datetime | None) -> list[ColumnElement[Any]]:
    """Return by what exposures are ordered, the most urgent first."""
    queued = waits_since()
    urgency: list[ColumnElement[Any]] = [case((col(Exposure.service_deaths) >= SUSPECT_AFTER, 1), else_=0)]
    is_live = col(Exposure.priority) < Priority.REDO
    if patient is not None:
        urgency.append(case((and_(~is_live, queued <= patient), 0), else_=1))
    risen = case(
        *((queued <= now - n * RISES_AFTER, n * RISE) for n in range(RISES, 0, -1)),
        else_=0,
    )
    aged = col(Exposure.priority) - risen
    urgency.append(case((is_live, col(Exposure.priority)), (aged < Priority.REDO, Priority.REDO), else_=aged))
    urgency.append(case((is_live, col(Exposure.received_at)), else_=queued))
    return [*urgency, cast(ColumnElement[Any], col(Exposure.id))]


def waits_since() -> ColumnElement[datetime]:
    """Return when an exposure that is received was queued last, or is due again."""
    since = col(Exposure.retry_at), col(Exposure.queued_at), col(Exposure.received_at)
    return func.coalesce(*since, type_=UtcDateTime)


def _of_a_batch(now: datetime, worker: str) -> ColumnElement[bool]:
    """Return whether an exposure was queued by a batch that is listing its files, or reducing them."""
    other = aliased(Exposure)
    at_work = exists().where(
        col(other.state) == State.REDUCING, col(other.leased_by) != worker, col(other.lease_until) > now
    )
    queued = and_(col(Exposure.state) == State.RECEIVED, col(Exposure.priority) >= Priority.BACKFILL)
    return and_(queued, or_(waits_since() > now - BATCH_AFTER, at_work))


def is_live_in_work(database: Database, prefix: str, now: datetime) -> bool:
    """Return whether a new frame is being reduced by one whose name begins with a prefix."""
    in_work = exists().where(
        col(Exposure.state) == State.REDUCING,
        col(Exposure.priority) < Priority.REDO,
        col(Exposure.lease_until) > now,
        col(Exposure.leased_by).startswith(prefix, autoescape=True),
    )
    with database.session() as session:
        return bool(session.scalar(select(in_work)))


def _ready(now: datetime) -> ColumnElement[bool]:
    due = col(Exposure.retry_at) <= now
    return or_(
        and_(col(Exposure.state) == State.RECEIVED, or_(col(Exposure.retry_at).is_(None), due)),
        and_(col(Exposure.state) == State.HELD, due),
        and_(col(Exposure.state) == State.REDUCING, col(Exposure.lease_until) <= now),
    )


def _take(
    database: Database,
    condition: ColumnElement[bool],
    order: list[ColumnElement[Any]],
    worker: str,
    now: datetime,
    seconds: float,
) -> Exposure | None:
    with database.write() as session:
        exposure = _next(session, condition, order)
        if exposure is not None:
            _hand_over(exposure, worker, now, seconds)
        return exposure


def _hand_over(exposure: Exposure, worker: str, now: datetime, seconds: float) -> None:
    exposure.state = State.REDUCING
    exposure.leased_by = worker
    exposure.lease_until = now + timedelta(seconds=seconds)
    exposure.retry_at = None
    exposure.done_at = None


def _next(
    session: Session, condition: ColumnElement[bool], order: list[ColumnElement[Any]]
) -> Exposure | None:
    chosen = select(Exposure).where(condition).order_by(*order).limit(1)
    return session.exec(chosen.with_for_update(skip_locked=True)).first()


def _change(database: Database, exposure_id: int, worker: str | None, values: dict[str, Any]) -> bool:
    statement = update(Exposure).where(col(Exposure.id) == exposure_id, col(Exposure.state) == State.REDUCING)
    if worker is not None:
        statement = statement.where(col(Exposure.leased_by) == worker)
    with database.write() as session:
        return session.connection().execute(statement.values(**values)).rowcount == 1
