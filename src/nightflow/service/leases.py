"""The service's own dealings with the ledger: its name, its leases, the runs that show its exposures."""

from __future__ import annotations

import hashlib
import os
import socket
from datetime import UTC, datetime

from sqlalchemy import update
from sqlalchemy.engine import make_url
from sqlmodel import col, select

from nightflow.pipeline.run_lease import free_dead_runs, take
from nightflow.shown_url import shown_url
from nightflow.store.database import Database
from nightflow.store.deaths import Inherited, count_service_death
from nightflow.store.models import Exposure, State
from nightflow.store.overview import known_exposure

__all__ = [
    "PREFIX",
    "act_as",
    "free_dead_leases",
    "hold",
    "is_service_tag",
    "note_run",
    "service_tag",
    "worker_name",
]

PREFIX = "watch:"
"""With which the names of services begin; the host comes next."""
_SERVICE = "ledger-"

_acting_for: list[str] = []


def act_as(name: str) -> None:
    """Let this process, a worker, count as the holder of what its service has leased under this name."""
    _acting_for[:] = [name]


def worker_name() -> str:
    """Return the name under which this process leases exposures, or its service does."""
    if _acting_for:
        return _acting_for[0]
    return f"{PREFIX}{socket.gethostname()}:{os.getpid()}"


def service_tag(store_url: str) -> str:
    """Return a name for the service of a ledger; it survives a restart and a new password, and tells none."""
    # It stands in a file that all may read, and passwords could be tried on a hash of theirs.
    ledger = shown_url(make_url(store_url)._replace(password=None).render_as_string(hide_password=False))
    return f"{_SERVICE}{hashlib.sha256(ledger.encode()).hexdigest()[:12]}"


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
    held = select(Exposure.id, Exposure.leased_by).where(
        Exposure.state == State.REDUCING, col(Exposure.leased_by).startswith(PREFIX, autoescape=True)
    )
    with database.session() as session:
        rows = session.exec(held).all()
    return Inherited.of(
        {one or 0: count_service_death(database, one or 0, worker or "", now) for one, worker in rows}
    )


def hold(database: Database, exposure_id: int) -> str | None:
    """Return the name under which this process holds an exposure, leased now if need be.

    The service leases before it makes a run: such a run finds the lease of its own process, or it has been
    taken over, or settled, and is none of its business any more. A run that somebody started by hand, or a
    backfill, finds none and takes it.

    Returns
    -------
    str or None
        None where another process holds it, or where it is not to be had, see `take`.

    Raises
    ------
    KeyError
        The ledger has no such exposure.
    """
    own = worker_name()
    if _holder(database, exposure_id) == own:
        return own
    if _acting_for:
        return None
    free_dead_runs(database, datetime.now(UTC))
    return _holder(database, exposure_id) if take(database, exposure_id) else None


def _holder(database: Database, exposure_id: int) -> str | None:
    exposure = known_exposure(database, exposure_id)
    return exposure.leased_by if exposure.state == State.REDUCING else None


def note_run(database: Database, exposure_id: int, run_id: str) -> None:
    """Write down which Prefect run shows an exposure."""
    with database.write() as session:
        session.connection().execute(
            update(Exposure).where(col(Exposure.id) == exposure_id).values(prefect_run_id=run_id)
        )
