"""Exposures that the service reduced without a run of the Prefect server, until a catch-up run lists them.

The ledger keeps them: a restart of the service forgets none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, update
from sqlmodel import col, select

from nightflow.store.database import Database
from nightflow.store.ledger import TERMINAL
from nightflow.store.models import Exposure, State
from nightflow.store.narrow import unindexed

__all__ = ["Unshown", "any_in_work", "count_shown", "list_unshown", "note_shown", "note_unshown", "unshown"]

UNSHOWN = ""
"""In the place of the run that shows an exposure. None is what no service has reduced."""
_AT_ONCE = 500
"""Exposures that one statement names."""


@dataclass(frozen=True, kw_only=True)
class Unshown:
    """What no run shows yet.

    Attributes
    ----------
    ended : int
        Exposures that have ended, between ``first`` and ``last``.
    first, last : datetime or None
        None where none has.
    waiting : int
        Exposures that have not ended: queued again, or in work.
    """

    ended: int
    first: datetime | None
    last: datetime | None
    waiting: int


def note_unshown(database: Database, exposure_id: int) -> None:
    """Write down that an exposure is reduced without a run."""
    with database.write() as session:
        session.connection().execute(
            update(Exposure).where(col(Exposure.id) == exposure_id).values(prefect_run_id=UNSHOWN)
        )


def unshown(database: Database) -> Unshown:
    """Return how much no run shows yet."""
    ended = select(func.count(), func.min(Exposure.done_at), func.max(Exposure.done_at)).where(*_has_ended())
    waiting = select(func.count()).where(_is_unshown(), col(Exposure.state).not_in(TERMINAL))
    with database.session() as session:
        count, first, last = session.exec(ended).one()
        return Unshown(ended=count, first=first, last=last, waiting=session.exec(waiting).one())


def any_in_work(database: Database) -> bool:
    """Return whether something is being reduced that no run shows."""
    in_work = select(col(Exposure.id)).where(Exposure.state == State.REDUCING, _is_unshown()).limit(1)
    with database.session() as session:
        return session.exec(in_work).first() is not None


def count_shown(database: Database, by: Collection[str] | None = None) -> int:
    """Return how many exposures a run shows, or one of these runs: its own, or a catch-up run."""
    statement = select(func.count()).where(col(Exposure.prefect_run_id) != UNSHOWN)  # so is no NULL
    if by is not None:
        statement = statement.where(col(Exposure.prefect_run_id).in_(by))
    with database.session() as session:
        return session.exec(statement).one()


def list_unshown(database: Database, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Return what ended in a time without a run that shows it, for people, in the order of its end.

    Parameters
    ----------
    since, until : datetime
        Aware; both included.
    """
    chosen = (
        select(Exposure)
        .where(*_has_ended(), col(Exposure.done_at).between(since, until))
        .order_by(col(Exposure.done_at), col(Exposure.id))
    )
    with database.session() as session:
        return [_for_people(exposure) for exposure in session.exec(chosen)]


def note_shown(database: Database, exposure_ids: Sequence[int], run_id: str) -> None:
    """Write down which run lists exposures, but for those that were taken up again meanwhile."""
    with database.write() as session:
        for start in range(0, len(exposure_ids), _AT_ONCE):
            part = col(Exposure.id).in_(exposure_ids[start : start + _AT_ONCE])
            session.connection().execute(
                update(Exposure).where(part, *_has_ended()).values(prefect_run_id=run_id)
            )


def _is_unshown() -> ColumnElement[bool]:
    # Written out: SQLite takes an index of some rows only where it reads in the statement that they suffice.
    return col(Exposure.prefect_run_id) == literal_column(f"'{UNSHOWN}'")


def _has_ended() -> tuple[ColumnElement[bool], ...]:
    return _is_unshown(), unindexed(Exposure.state).in_(TERMINAL), col(Exposure.done_at).is_not(None)


def _for_people(exposure: Exposure) -> dict[str, Any]:
    assert exposure.done_at is not None
    return {
        "exposure": exposure.id,
        "file": Path(exposure.path).name,
        "state": str(exposure.state),
        "reason": exposure.reason,
        "at": exposure.done_at.isoformat(timespec="seconds"),
    }
