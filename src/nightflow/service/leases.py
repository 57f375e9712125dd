"""The service's own dealings with the ledger: its name, its leases, the runs that show its exposures."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, select

from nightflow.pipeline.run_lease import free_dead_runs, take
from nightflow.store.database import Database
from nightflow.store.frames import fail_frames
from nightflow.store.leases import SUSPECT_AFTER, release
from nightflow.store.ledger import settle_exposure
from nightflow.store.models import Exposure, State
from nightflow.store.overview import get_exposure

__all__ = [
    "ATTEMPTS",
    "GIVEN_UP_AFTER",
    "Inherited",
    "act_as",
    "count_death",
    "free_dead_leases",
    "hold",
    "is_service_tag",
    "note_run",
    "service_tag",
    "worker_name",
]

PREFIX = "watch:"
_SERVICE = "ledger-"
GIVEN_UP_AFTER = SUSPECT_AFTER + 3
"""Deaths of a service after which an exposure has failed: three of them with nothing else in work that could
be guilty."""
ATTEMPTS = 3
"""Deaths of a worker, seen by a living service, after which an exposure has failed."""

_acting_for: list[str] = []


@dataclass(frozen=True)
class Inherited:
    """What a service finds that its dead predecessor held.

    Attributes
    ----------
    queued, failed : list of int
        Exposures that are queued again, and those that have seen too many deaths.
    """

    queued: list[int]
    failed: list[int]


def act_as(name: str) -> None:
    """Let this process, a worker, count as the holder of what its service has leased under this name."""
    _acting_for[:] = [name]


def worker_name() -> str:
    """Return the name under which this process leases exposures, or its service does."""
    if _acting_for:
        return _acting_for[0]
    return f"{PREFIX}{socket.gethostname()}:{os.getpid()}"


def service_tag(store_url: str) -> str:
    """Return a name for the service of a ledger; it survives a restart and tells no secret."""
    return f"{_SERVICE}{hashlib.sha256(store_url.encode()).hexdigest()[:12]}"


def is_service_tag(text: str) -> bool:
    """Return whether a text is what `service_tag` returns, for whatever ledger."""
    return text.startswith(_SERVICE)


def free_dead_leases(database: Database, now: datetime) -> Inherited:
    """Hand back what dead services held; call it only as the ledger's one service.

    Each has seen a death more. From the fifth on an exposure is suspected of being the cause (it needs more
    memory than there is, or crashes a library), and is reduced alone; with the eighth it has failed. So a
    frame that kills cannot stop the night, and one that was in work by chance is not lost: alone, it lives.

    Parameters
    ----------
    now : datetime
        Aware.
    """
    held = select(Exposure.id).where(
        Exposure.state == State.REDUCING, col(Exposure.leased_by).startswith(PREFIX, autoescape=True)
    )
    with database.session() as session:
        ids = [one for one in session.exec(held).all() if one is not None]
    freed = [exposure_id for exposure_id in ids if release(database, exposure_id, after_death="service")]
    failed = [exposure_id for exposure_id in freed if _is_given_up(database, exposure_id, now)]
    return Inherited([one for one in freed if one not in failed], failed)


def _is_given_up(database: Database, exposure_id: int, now: datetime) -> bool:
    exposure = get_exposure(database, exposure_id)
    if exposure is None or exposure.service_deaths < GIVEN_UP_AFTER:
        return False
    reason = (
        f"{exposure.path}: the service died {exposure.service_deaths} times with this exposure in work, "
        "at last with nothing else in work: out of memory, or a crash in a library. See the service's log "
        "and dmesg; `nightflow retry` tries it again"
    )
    fail_frames(database, exposure_id, reason)
    return settle_exposure(database, exposure_id, State.FAILED, reason, now=now)


def count_death(database: Database, exposure_id: int, worker: str, how: str, now: datetime) -> State | None:
    """Count the death of a worker on the exposure that it had in work.

    It is tried again, behind what is fresh, or has failed with the third.

    Parameters
    ----------
    worker : str
        In whose name it is leased.
    how : str
        The step, and what ended the worker after how long.
    now : datetime
        Aware.

    Returns
    -------
    State or None
        ``received`` or ``failed``; None where ``worker`` does not hold it, and nothing was written.
    """
    exposure = get_exposure(database, exposure_id)
    if exposure is None or exposure.state != State.REDUCING or exposure.leased_by != worker:
        return None
    deaths = exposure.attempts + 1
    if deaths < ATTEMPTS:
        reason = f"attempt {deaths} of {ATTEMPTS}: {how}; it is tried again"
        again = release(database, exposure_id, worker, after_death="worker", reason=reason)
        return State.RECEIVED if again else None
    reason = f"{exposure.path}: {deaths} workers died of it, at last in {how}; try again: `nightflow retry`"
    fail_frames(database, exposure_id, reason)
    ended = settle_exposure(
        database, exposure_id, State.FAILED, reason, now=now, worker=worker, attempts=deaths
    )
    return State.FAILED if ended else None


def hold(database: Database, exposure_id: int) -> str | None:
    """Return the name under which this process holds an exposure, leased now if need be.

    The service leases before it makes a run: such a run finds the lease of its own process. A run that
    somebody started by hand, or a backfill, finds none and takes it.

    Returns
    -------
    str or None
        None where another process holds it, or where it is a duplicate.

    Raises
    ------
    KeyError
        The ledger has no such exposure.
    """
    own = worker_name()
    if _holder(database, exposure_id) == own:
        return own
    free_dead_runs(database)
    return _holder(database, exposure_id) if take(database, exposure_id) else None


def _holder(database: Database, exposure_id: int) -> str | None:
    exposure = get_exposure(database, exposure_id)
    if exposure is None:
        raise KeyError(f"exposure {exposure_id} is not in the ledger")
    return exposure.leased_by if exposure.state == State.REDUCING else None


def note_run(database: Database, exposure_id: int, run_id: str) -> None:
    """Write down which Prefect run shows an exposure."""
    with database.write() as session:
        session.connection().execute(
            update(Exposure).where(col(Exposure.id) == exposure_id).values(prefect_run_id=run_id)
        )
