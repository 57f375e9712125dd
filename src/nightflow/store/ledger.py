"""The ledger's exposures: how one is received, settled and put back into the queue.

Time is always an argument. Each function is one transaction, but where it says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from nightflow.store.database import Database, serialise
from nightflow.store.frames import camera_of_exposure
from nightflow.store.models import Exposure, Frame, Priority, State, plain_text

__all__ = [
    "CONTENT",
    "PLACE",
    "TERMINAL",
    "Held",
    "Received",
    "held_exposures",
    "held_for",
    "others_at",
    "receive",
    "requeue",
    "same_content",
    "settle_exposure",
]

CONTENT = "content"
"""What an exposure waits for that was rejected because its file was overwritten: any file of its content."""
STORE = "store"
"""What an exposure waits for that is held because part of the store is damaged; it is tried by the clock."""
PLACE = "place"
"""What an exposure waits for that was retired for another one of its path: its content at a path of such."""

_AT_ONCE = 1000
"""Exposures that one statement names."""

TERMINAL = frozenset({State.DONE, State.HELD, State.REJECTED, State.FAILED, State.DUPLICATE})
"""States in which nothing is going on."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """What the ledger knows of a file that was shown to it.

    Attributes
    ----------
    exposure_id : int
        Its row.
    state : State
        Where it stands; `State.DUPLICATE` where the content is known under another path.
    is_new : bool
        True where this call wrote the row, or put back into the queue what had waited for the file.
    """

    exposure_id: int
    state: State
    is_new: bool


def receive(
    database: Database,
    path: str,
    sha256: str,
    size: int,
    *,
    priority: int = Priority.LIVE,
    now: datetime,
    times: tuple[int, int] | None = None,
) -> Received:
    """Enter a file into the ledger; the same file again changes nothing but by what it is known again.

    Only an exposure that may have waited for this file is taken up again: one that something outside keeps
    waiting, and one whose file held another content meanwhile.

    Parameters
    ----------
    path : str
        Where it lies, as `nightflow.file_names.as_text` writes it.
    sha256 : str
        Hash of its content, hexadecimal. The same content under another path becomes a row in state
        ``duplicate`` that names the first; new content under a known path is a new exposure.
    size : int
        Bytes.
    priority : int
        See `Priority`.
    now : datetime
        Aware.
    times : tuple of int, optional
        Last changes of the file's content and inode [ns], before it was read.
    """
    path = plain_text(path)
    with database.write() as session:
        serialise(session, f"content {sha256}")
        known = session.exec(
            select(Exposure).where(Exposure.sha256 == sha256).order_by(col(Exposure.id))
        ).all()
        same = next((exposure for exposure in known if exposure.path == path), None)
        if same is not None:
            if times is not None:
                same.mtime_ns, same.ctime_ns = times
            return _received(same, is_new=_came_back(session, same, priority, now))
        exposure = Exposure(
            path=path, sha256=sha256, size=size, priority=priority, received_at=now, queued_at=now
        )
        if times is not None:
            exposure.mtime_ns, exposure.ctime_ns = times
        first = next((other for other in known if other.state != State.DUPLICATE), None)
        if first is not None:
            exposure.state = State.DUPLICATE
            exposure.reason = same_content(first)
            exposure.done_at = now
        session.add(exposure)
        session.flush()
        return _received(exposure, is_new=True)


def same_content(original: Exposure) -> str:
    """Return the reason of a duplicate."""
    return f"same content as {original.path} (exposure {original.id})"


def others_at(session: Session, path: str, sha256: str) -> bool:
    """Return whether exposures of other content were received at a path."""
    others = select(Exposure.id).where(
        Exposure.path == path, Exposure.sha256 != sha256, Exposure.state != State.DUPLICATE
    )
    return session.exec(others.limit(1)).first() is not None


def settle_exposure(
    database: Database,
    exposure_id: int,
    state: State,
    reason: str,
    *,
    now: datetime,
    waits_for: str = "",
    retry_at: datetime | None = None,
    priority: int | None = None,
    plan_fingerprint: str | None = None,
    worker: str | None = None,
) -> bool:
    """Write down how an exposure ended, and free its lease.

    Parameters
    ----------
    state : State
        A terminal state, or ``received`` to have it reduced again.
    reason : str
        Why, for the observer; "" only where it is done without a word to say.
    waits_for : str
        What a held exposure waits for, such as "flat".
    retry_at : datetime, optional
        When a held or received exposure is taken up again by itself.
    priority : int, optional
        From now on; else as it was.
    plan_fingerprint : str, optional
        What the conclusion rests on.
    worker : str, optional
        Where given, only the holder of the lease may settle.

    Returns
    -------
    bool
        False where ``worker`` has lost the lease: then nothing was written.
    """
    values: dict[str, Any] = {
        "state": state,
        "reason": reason,
        "waits_for": waits_for,
        "retry_at": retry_at,
        "done_at": now if state in TERMINAL else None,
        "leased_by": None,
        "lease_until": None,
    }
    if priority is not None:
        values["priority"] = priority
    if plan_fingerprint is not None:
        values["plan_fingerprint"] = plan_fingerprint
    statement = update(Exposure).where(col(Exposure.id) == exposure_id)
    if worker is not None:
        statement = statement.where(col(Exposure.leased_by) == worker, col(Exposure.state) == State.REDUCING)
    with database.write() as session:
        return session.connection().execute(statement.values(**values)).rowcount == 1


def requeue(
    database: Database,
    exposure_ids: Collection[int] | None = None,
    *,
    states: Collection[State] | None = None,
    waits_for: str | None = None,
    instrument: str | None = None,
    priority: int = Priority.REDO,
    now: datetime,
) -> list[int]:
    """Put settled exposures back into the queue, with attempts counted anew.

    The filters that are given must all hold. Duplicates, and exposures that a worker holds, stay as they are.
    Of those that are named each thousand is a transaction, so that nobody waits for all of them.

    Parameters
    ----------
    exposure_ids : collection of int, optional
        Only these.
    states : collection of State, optional
        Only those in one of these states.
    waits_for : str, optional
        Only those that wait for this.
    instrument : str, optional
        Only those with a frame of this camera.
    priority : int
        Their new priority.
    now : datetime
        Aware; a lease that ended before is not held any more.

    Returns
    -------
    list of int
        Those that were put back, in order.
    """
    chosen = select(col(Exposure.id)).where(
        col(Exposure.state) != State.DUPLICATE,
        (col(Exposure.state) != State.REDUCING) | (col(Exposure.lease_until) <= now),
    )
    if states is not None:
        chosen = chosen.where(col(Exposure.state).in_(list(states)))
    chosen = _filtered(chosen, waits_for, instrument)
    if exposure_ids is None:
        return _requeue(database, chosen, priority, now)
    return [
        one
        for part in _parts(sorted(exposure_ids))
        for one in _requeue(database, chosen.where(col(Exposure.id).in_(part)), priority, now)
    ]


def _requeue(
    database: Database, chosen: SelectOfScalar[int | None], priority: int, now: datetime
) -> list[int]:
    # All lock in one order: two that each hold what the other wants would wait for ever.
    in_order = chosen.order_by(col(Exposure.id)).with_for_update()
    with database.write() as session:
        ids = [one for one in session.exec(in_order).all() if one is not None]
        _put_back(session, ids, priority, now)
        return ids


def held_for(database: Database, waits_for: str, instrument: str | None = None) -> list[int]:
    """Return the exposures that wait for something such as "flat", oldest first."""
    held = select(col(Exposure.id)).where(Exposure.state == State.HELD).order_by(col(Exposure.received_at))
    with database.session() as session:
        ids = session.exec(_filtered(held, waits_for, instrument)).all()
        return [one for one in ids if one is not None]


@dataclass(frozen=True, kw_only=True)
class Held:
    """An exposure that waits for something.

    Attributes
    ----------
    exposure_id : int
    plan_fingerprint : str
        What its conclusion rests on.
    instrument : str or None
        Its camera; None where none was recognised.
    """

    exposure_id: int
    plan_fingerprint: str
    instrument: str | None


def held_exposures(database: Database, waits_for: str, since: datetime | None = None) -> list[Held]:
    """Return the exposures that wait for something such as "wcs", those received since, oldest first."""
    held = (
        select(Exposure.id, Exposure.plan_fingerprint, camera_of_exposure())
        .where(Exposure.state == State.HELD, Exposure.waits_for == waits_for)
        .order_by(col(Exposure.received_at))
    )
    if since is not None:
        held = held.where(col(Exposure.received_at) >= since)
    with database.session() as session:
        return [
            Held(exposure_id=number or 0, plan_fingerprint=fingerprint, instrument=name)
            for number, fingerprint, name in session.exec(held).all()
        ]


def _came_back(session: Session, exposure: Exposure, priority: int, now: datetime) -> bool:
    """Put an exposure whose file was seen into the queue, where it may have waited for that."""
    if exposure.state == State.HELD and exposure.waits_for == "outside":
        exposure.state, exposure.reason, exposure.waits_for = State.RECEIVED, "", ""
        exposure.retry_at = exposure.done_at = None
        exposure.queued_at = now
        return True
    if exposure.state != State.REJECTED or exposure.waits_for not in (CONTENT, PLACE):
        return False
    if exposure.waits_for == PLACE and not others_at(session, exposure.path, exposure.sha256):
        return False  # a copy of what was retired is no news
    assert exposure.id is not None
    _put_back(session, [exposure.id], priority, now)
    session.refresh(exposure)
    return True


def _received(exposure: Exposure, *, is_new: bool) -> Received:
    assert exposure.id is not None
    return Received(exposure_id=exposure.id, state=State(exposure.state), is_new=is_new)


def _filtered(
    statement: SelectOfScalar[int | None], waits_for: str | None, instrument: str | None
) -> SelectOfScalar[int | None]:
    if waits_for is not None:
        statement = statement.where(Exposure.waits_for == waits_for)
    if instrument is not None:
        frames = select(Frame.exposure_id).where(Frame.instrument == instrument)
        statement = statement.where(col(Exposure.id).in_(frames))
    return statement


def _parts(exposure_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (exposure_ids[start : start + _AT_ONCE] for start in range(0, len(exposure_ids), _AT_ONCE))


def _put_back(session: Session, exposure_ids: list[int], priority: int, now: datetime) -> None:
    afresh = {
        "state": State.RECEIVED,
        "reason": "",
        "waits_for": "",
        "priority": priority,
        "attempts": 0,
        "service_deaths": 0,
        "queued_at": now,
        "retry_at": None,
        "done_at": None,
        "leased_by": None,
        "lease_until": None,
        "plan_fingerprint": "",
    }
    connection = session.connection()
    for part in _parts(exposure_ids):
        connection.execute(update(Exposure).where(col(Exposure.id).in_(part)).values(**afresh))
        connection.execute(
            update(Frame)
            .where(col(Frame.exposure_id).in_(part), col(Frame.state) != State.DUPLICATE)
            .values(state=State.RECEIVED, reason="", traceback="")
        )
