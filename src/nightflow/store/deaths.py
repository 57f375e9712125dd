"""Deaths that an exposure was in work at: counted, until it has failed as the one that kills.

Each is one transaction: whoever counts a death settles the exposure and its frames, or none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from nightflow.store.database import Database
from nightflow.store.frames import fail_frames
from nightflow.store.leases import SUSPECT_AFTER
from nightflow.store.models import Exposure, Priority, State

__all__ = [
    "ATTEMPTS",
    "GIVEN_UP_AFTER",
    "Inherited",
    "count_death",
    "count_service_death",
    "is_given_up",
]

ATTEMPTS = 3
"""Deaths of a worker, or of a run or a share, after which an exposure has failed."""
GIVEN_UP_AFTER = SUSPECT_AFTER + 3
"""Deaths of a service after which an exposure has failed: three of them with nothing else in work that could
be guilty."""


@dataclass(frozen=True)
class Inherited:
    """What the dead had in work.

    Attributes
    ----------
    queued, failed : list of int
        Exposures that are queued again, and those that have seen too many deaths.
    """

    queued: list[int]
    failed: list[int]

    @classmethod
    def of(cls, counted: dict[int, State | None]) -> Inherited:
        """Sort exposures by what became of them; those that were let go meanwhile are neither."""
        return cls(
            queued=[one for one, state in counted.items() if state == State.RECEIVED],
            failed=[one for one, state in counted.items() if state == State.FAILED],
        )


def count_death(
    database: Database,
    exposure_id: int,
    worker: str,
    how: str,
    now: datetime,
    *,
    until: datetime | None = None,
) -> State | None:
    """Count the death of a worker on the exposure that it had in work.

    It is tried again, behind what is fresh and what is queued already, or has failed with the third.

    Parameters
    ----------
    worker : str
        In whose name it is leased.
    how : str
        The step, and what ended the worker after how long.
    now : datetime
        Aware.
    until : datetime, optional
        When the lease ends by which it was seen dead: where that was prolonged since, it lives.

    Returns
    -------
    State or None
        ``received`` or ``failed``; None where ``worker`` does not hold it so, and nothing was written.
    """
    with database.write() as session:
        exposure = _in_work(session, exposure_id, worker)
        if exposure is None or until not in (None, exposure.lease_until):
            return None
        exposure.attempts += 1
        if exposure.attempts >= ATTEMPTS:
            deaths = f"{exposure.attempts} workers died of it, at last in {how}"
            return _fail(session, exposure, f"{exposure.path}: {deaths}; try again: `nightflow retry`", now)
        exposure.reason = f"attempt {exposure.attempts} of {ATTEMPTS}: {how}; it is tried again"
        exposure.priority = max(exposure.priority, Priority.REDO)
        exposure.queued_at = now
        return _let_go(exposure, State.RECEIVED)


def count_service_death(database: Database, exposure_id: int, worker: str, now: datetime) -> State | None:
    """Count the death of a service on an exposure that it had in work.

    Parameters
    ----------
    worker : str
        In whose name it is leased.
    now : datetime
        Aware.

    Returns
    -------
    State or None
        ``received``, or ``failed`` with the `GIVEN_UP_AFTER`-th; None where ``worker`` does not hold it.
    """
    with database.write() as session:
        exposure = _in_work(session, exposure_id, worker)
        if exposure is None:
            return None
        exposure.service_deaths += 1
        if exposure.service_deaths < GIVEN_UP_AFTER:
            return _let_go(exposure, State.RECEIVED)
        reason = (
            f"{exposure.path}: the service died {exposure.service_deaths} times with this exposure in work, "
            "at last with nothing else in work: out of memory, or a crash in a library. See the service's "
            "log and dmesg; `nightflow retry` tries it again"
        )
        return _fail(session, exposure, reason, now)


def is_given_up(exposure: Exposure) -> bool:
    """Return whether an exposure has failed of deaths: only somebody who asks for it tries it again."""
    died = exposure.attempts >= ATTEMPTS or exposure.service_deaths >= GIVEN_UP_AFTER
    return exposure.state == State.FAILED and died


def _in_work(session: Session, exposure_id: int, worker: str) -> Exposure | None:
    held = select(Exposure).where(
        Exposure.id == exposure_id, col(Exposure.state) == State.REDUCING, Exposure.leased_by == worker
    )
    return session.exec(held.with_for_update()).first()


def _fail(session: Session, exposure: Exposure, reason: str, now: datetime) -> State:
    fail_frames(session, exposure.id or 0, reason)
    exposure.reason, exposure.waits_for = reason, ""
    exposure.retry_at, exposure.done_at = None, now
    return _let_go(exposure, State.FAILED)


def _let_go(exposure: Exposure, state: State) -> State:
    exposure.state, exposure.leased_by, exposure.lease_until = state, None, None
    return state
