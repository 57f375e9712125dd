"""The lock that lets one worker build a master once, while others wait for it.

It is a row with a lease, which is prolonged while the build goes on: what a dead builder left behind is taken
over when its lease ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete
from sqlmodel import Session, col

from nightflow.errors import RetryLater
from nightflow.store.database import Database, serialise
from nightflow.store.models import MasterBuild, plain_text

__all__ = ["acquire_build", "building", "release_build"]

log = logging.getLogger(__name__)


def acquire_build(database: Database, key: str, worker: str, *, now: datetime, seconds: float) -> bool:
    """Take the lock of a master, or prolong it where the worker has it.

    Parameters
    ----------
    key : str
        What is built: anything that two builders of the same master agree on.
    worker : str
        Who builds; unique to a process and thread.
    seconds : float
        After so long the lock is free again, whatever became of the builder.

    Returns
    -------
    bool
        False where another worker is building.
    """
    key = plain_text(key)
    with database.write() as session:
        serialise(session, f"build {key}")
        return _acquire(session, key, worker, now, now + timedelta(seconds=seconds))


def release_build(database: Database, key: str, worker: str) -> None:
    """Give the lock back; nothing happens where the worker no longer has it."""
    with database.write() as session:
        session.connection().execute(
            delete(MasterBuild).where(col(MasterBuild.key) == key, col(MasterBuild.worker) == worker)
        )


@contextmanager
def building(
    database: Database,
    key: str,
    worker: str,
    *,
    seconds: float = 60.0,
    patience: float = 1800.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of a master inside the block; wait for it where another worker has it.

    Whoever comes in looks first whether the master has been built meanwhile.

    Parameters
    ----------
    seconds : float
        Length of the lease, prolonged three times within it: so long a dead builder blocks the others.
    patience : float
        How long to wait.

    Raises
    ------
    RetryLater
        Another worker was still building when patience ended.
    """
    _wait(database, key, worker, seconds, patience, clock, sleep)
    done = threading.Event()
    keeper = threading.Thread(
        target=_prolong, args=(database, key, worker, seconds, clock, done), name="build-lease", daemon=True
    )
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
        release_build(database, key, worker)


def _prolong(
    database: Database,
    key: str,
    worker: str,
    seconds: float,
    clock: Callable[[], datetime],
    done: threading.Event,
) -> None:
    """Prolong a lease until the build is done, or until another worker has taken over."""
    while not done.wait(seconds / 3):
        try:
            if not acquire_build(database, key, worker, now=clock(), seconds=seconds):
                log.warning("master %s: the lease was lost; another worker builds it, too", key)
                return
        except RetryLater as error:
            log.warning("master %s: the lease is not prolonged: %s", key, error)


def _wait(
    database: Database,
    key: str,
    worker: str,
    seconds: float,
    patience: float,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> None:
    give_up = clock() + timedelta(seconds=patience)
    while not acquire_build(database, key, worker, now=clock(), seconds=seconds):
        if clock() >= give_up:
            raise RetryLater(f"master {key}: another worker is still building it after {patience:.0f} s")
        sleep(0.1)


def _acquire(session: Session, key: str, worker: str, now: datetime, until: datetime) -> bool:
    lock = session.get(MasterBuild, key)
    if lock is None:
        session.add(MasterBuild(key=key, worker=worker, lease_until=until))
        return True
    if lock.worker != worker and lock.lease_until > now:
        return False
    lock.worker, lock.lease_until = worker, until
    return True
