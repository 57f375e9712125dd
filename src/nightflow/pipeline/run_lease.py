"""The leases of `nightflow run`: taken exposure by exposure, and free again when the process is gone."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime

from sqlmodel import col, select

from nightflow.store.database import Database
from nightflow.store.leases import lease_exposure, release
from nightflow.store.ledger import TERMINAL, requeue
from nightflow.store.models import Exposure, Priority, State

__all__ = ["free_dead_runs", "hand_back", "run_worker", "take"]

_SECONDS = 3600.0
_PREFIX = f"run:{socket.gethostname()}:"


def take(database: Database, exposure_id: int) -> bool:
    """Lease an exposure, put back into the queue if it was settled; False where another process has it."""
    now = datetime.now(UTC)
    requeue(database, [exposure_id], states=TERMINAL, priority=Priority.BACKFILL, now=now)
    return lease_exposure(database, exposure_id, run_worker(), now=now, seconds=_SECONDS) is not None


def hand_back(database: Database, exposure_id: int) -> None:
    """Give an exposure back unreduced; nothing happens where this process does not hold it."""
    release(database, exposure_id, run_worker())


def free_dead_runs(database: Database) -> int:
    """Hand back what runs on this machine held whose process is no more; return how many exposures.

    So the night of a run that was killed is taken up at once, and not when its leases end.
    """
    held = select(Exposure.id, Exposure.leased_by).where(
        Exposure.state == State.REDUCING, col(Exposure.leased_by).startswith(_PREFIX, autoescape=True)
    )
    with database.session() as session:
        leases = session.exec(held).all()
    dead = [(one, worker) for one, worker in leases if worker and not _is_alive(worker)]
    return sum(release(database, one, worker) for one, worker in dead if one is not None)


def run_worker() -> str:
    """Return the name in which this process leases: its machine and its number."""
    return f"{_PREFIX}{os.getpid()}"


def _is_alive(worker: str) -> bool:
    try:
        os.kill(int(worker.removeprefix(_PREFIX)), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's process, but a process
    return True
