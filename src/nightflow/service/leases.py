"""The service's own dealings with the ledger: its name, its leases, the runs that show its exposures."""

from __future__ import annotations

import hashlib
import os
import socket

from sqlalchemy import update
from sqlmodel import col, select

from nightflow.store.database import Database
from nightflow.store.leases import release
from nightflow.store.models import Exposure, State

__all__ = ["free_dead_leases", "note_run", "service_tag", "worker_name"]

PREFIX = "watch:"


def worker_name() -> str:
    """Return the name under which this process leases exposures."""
    return f"{PREFIX}{socket.gethostname()}:{os.getpid()}"


def service_tag(store_url: str) -> str:
    """Return a name for the service of a ledger; it survives a restart and tells no secret."""
    return f"ledger-{hashlib.sha256(store_url.encode()).hexdigest()[:12]}"


def free_dead_leases(database: Database) -> list[int]:
    """Hand back what dead services held; call it only as the ledger's one service.

    Their attempts stay as they are: a death of the service is nothing that the exposure has to answer for.
    """
    held = select(Exposure.id).where(
        Exposure.state == State.REDUCING, col(Exposure.leased_by).startswith(PREFIX, autoescape=True)
    )
    with database.session() as session:
        ids = [one for one in session.exec(held).all() if one is not None]
    return [exposure_id for exposure_id in ids if release(database, exposure_id)]


def note_run(database: Database, exposure_id: int, run_id: str) -> None:
    """Write down which Prefect run shows an exposure."""
    with database.write() as session:
        session.connection().execute(
            update(Exposure).where(col(Exposure.id) == exposure_id).values(prefect_run_id=run_id)
        )
