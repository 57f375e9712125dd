"""The leases of `nightflow run` and of backfills: taken one by one, free again when the process is gone."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlmodel import col, select

from nightflow.store.database import Database
from nightflow.store.leases import lease, lease_exposure, lease_settled, release, renew
from nightflow.store.ledger import TERMINAL, requeue
from nightflow.store.models import Exposure, Priority, State

__all__ = [
    "free_dead_runs",
    "hand_back",
    "kept",
    "queue_for_backfill",
    "run_worker",
    "take",
    "take_queued",
    "take_settled",
]

log = logging.getLogger(__name__)

_SECONDS = 600.0
"""Of a lease that is not prolonged: so long a machine that has vanished keeps what it had in hand."""
_LONGEST = 4 * 3600.0
"""Of work on one exposure; what takes longer hangs, on a disk that is away say, and is left to others."""
_AT_ONCE = 1000
"""Exposures that one statement names."""
_PREFIX = f"run:{socket.gethostname()}:"


def take(database: Database, exposure_id: int) -> bool:
    """Lease an exposure, put back into the queue if it was settled; False where another process has it."""
    now = datetime.now(UTC)
    requeue(database, [exposure_id], states=TERMINAL, priority=Priority.BACKFILL, now=now)
    return lease_exposure(database, exposure_id, run_worker(), now=now, seconds=_SECONDS) is not None


def take_settled(database: Database, exposure_id: int, frame_ids: Collection[int]) -> bool:
    """Lease a settled exposure for some of its frames; False where it is queued or another process has it."""
    now = datetime.now(UTC)
    return lease_settled(database, exposure_id, run_worker(), now=now, seconds=_SECONDS, frame_ids=frame_ids)


def queue_for_backfill(database: Database, exposure_ids: Collection[int]) -> None:
    """Put exposures into the ledger's queue, from which each process that helps takes one after another."""
    for start in range(0, len(exposure_ids), _AT_ONCE):
        part = list(exposure_ids)[start : start + _AT_ONCE]
        requeue(database, part, priority=Priority.BACKFILL, now=datetime.now(UTC))


def take_queued(database: Database) -> int | None:
    """Lease what has waited longest of what is queued for a backfill; None where nothing waits."""
    free_dead_runs(database)
    now = datetime.now(UTC)
    taken = lease(database, run_worker(), now=now, seconds=_SECONDS, least=Priority.BACKFILL)
    return taken.id if taken is not None else None


@contextmanager
def kept(database: Database, exposure_id: int) -> Iterator[None]:
    """Prolong the lease of this process on an exposure, as often as need be, while the block runs."""
    ended = threading.Event()
    keeper = threading.Thread(target=_prolong, args=(database, exposure_id, ended), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def _prolong(database: Database, exposure_id: int, ended: threading.Event) -> None:
    began, pause = time.monotonic(), _SECONDS / 3
    while not ended.wait(pause):
        if time.monotonic() - began > _LONGEST:
            log.error(
                "exposure %d: in work for %.0f h, let go: is its file away?", exposure_id, _LONGEST / 3600
            )
            return
        try:
            held = renew(database, exposure_id, run_worker(), now=datetime.now(UTC), seconds=_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever the store says, it is asked again
            log.warning("lease of exposure %d not prolonged: %s", exposure_id, error)
            pause = _SECONDS / 20
        else:
            if not held:
                return  # settled, or somebody else's: `Reducer.conclude` looks at that
            pause = _SECONDS / 3


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
