"""The leases of `nightflow run` and of backfills: taken one by one, free again when the process is gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlmodel import col, select

from nightflow.pipeline.run_name import RUNS, lives_here, run_worker, shown_worker
from nightflow.store.database import Database
from nightflow.store.deaths import Inherited, count_death, is_given_up
from nightflow.store.leases import (
    hand_to_backfill,
    lease,
    lease_exposure,
    lease_settled,
    release,
    renew,
)
from nightflow.store.ledger import TERMINAL, requeue
from nightflow.store.models import Exposure, Priority, State
from nightflow.store.overview import get_exposure

__all__ = [
    "free_dead_runs",
    "hand_back",
    "kept",
    "queue_for_backfill",
    "take",
    "take_queued",
    "take_settled",
    "try_again",
    "unsettled",
]

log = logging.getLogger(__name__)

_SECONDS = 600.0
"""Of a lease that is not prolonged: so long a machine that has vanished keeps what it had in hand."""
_LONGEST = 4 * 3600.0
"""Of work on one exposure; what takes longer hangs, on a disk that is away say, and is left to others."""
_AT_ONCE = 1000
"""Exposures that one statement names."""
_BACK_AFTER = timedelta(seconds=120)
"""Within which those who live prolong leases that have ended: the store was away, for everybody."""
_LONG_GONE = timedelta(hours=1)
"""After which a lease has ended for good, seen by whoever has come just now."""


class _Lease(NamedTuple):
    exposure_id: int
    worker: str
    until: datetime


_seen_ended: dict[str, dict[_Lease, datetime]] = {}
"""Of each ledger the leases of runs that have ended, and when this process saw it first."""


def take(database: Database, exposure_id: int, *, force: bool = False) -> bool:
    """Lease an exposure, put back into the queue if it was settled.

    Parameters
    ----------
    force : bool
        Also one that has failed since whoever had it in work died, each time.

    Returns
    -------
    bool
        False where another process has it, it is a duplicate, or has failed so.
    """
    exposure = get_exposure(database, exposure_id)
    if exposure is not None and is_given_up(exposure) and not force:
        return False
    now = datetime.now(UTC)
    requeue(database, [exposure_id], states=TERMINAL, priority=Priority.BACKFILL, now=now)
    return lease_exposure(database, exposure_id, run_worker(), now=now, seconds=_SECONDS) is not None


def take_settled(database: Database, exposure_id: int, frame_ids: Collection[int]) -> bool:
    """Lease a settled exposure for some of its frames; False where it is queued or another process has it."""
    now = datetime.now(UTC)
    return lease_settled(database, exposure_id, run_worker(), now=now, seconds=_SECONDS, frame_ids=frame_ids)


def queue_for_backfill(database: Database, exposure_ids: Collection[int], *, watched: bool) -> None:
    """Put exposures into the ledger's queue, from which each process that helps takes one after another.

    Parameters
    ----------
    watched : bool
        A live service works on this ledger: it reduces what it has received and not settled yet, as
        frames of the night. Without one, a backfill does.
    """
    for part in _parts(exposure_ids):
        requeue(database, part, states=TERMINAL, priority=Priority.BACKFILL, now=datetime.now(UTC))
        if not watched:
            hand_to_backfill(database, part)


def try_again(database: Database, exposure_ids: Collection[int]) -> None:
    """Let those of some exposures that have failed be reduced again, with the deaths counted anew."""
    for part in _parts(exposure_ids):
        requeue(database, part, states=[State.FAILED], priority=Priority.BACKFILL, now=datetime.now(UTC))


def take_queued(database: Database, *, wary: bool = False) -> int | None:
    """Lease what has waited longest of what is queued for a backfill; None where nothing waits.

    Parameters
    ----------
    wary : bool
        Leave to others what somebody has died of.
    """
    now = datetime.now(UTC)
    _, doubtful = _count_dead(database, now)
    taken = lease(
        database,
        run_worker(),
        now=now,
        seconds=_SECONDS,
        but=doubtful,
        least=Priority.BACKFILL,
        attempts_below=1 if wary else None,
    )
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


def free_dead_runs(database: Database, now: datetime) -> Inherited:
    """Count a death on what runs and shares held that are no more, and free it.

    That is: whose process on this machine is gone, so that its night is taken up at once, or who were
    elsewhere, and have let their lease end, and not come back to it since. A process that lives here is never
    counted, whatever the clock or the store did to its lease. What kills whoever takes it comes last from
    then on, and fails with the third.

    Parameters
    ----------
    now : datetime
        Aware.
    """
    return _count_dead(database, now)[0]


def _count_dead(database: Database, now: datetime) -> tuple[Inherited, list[int]]:
    """Count deaths; return also what is not to be taken yet: whoever has it may come back to it."""
    held = _held_by_runs(database)
    known = _seen_ended.get(database.url, {})
    ended = {one: known.get(one, now) for one in held if one.until <= now}
    _seen_ended[database.url] = ended
    dead = [one for one in held if _is_dead(one, ended.get(one), now)]
    freed = Inherited.of(
        {
            one.exposure_id: count_death(
                database, one.exposure_id, one.worker, _died(one.worker), now, until=one.until
            )
            for one in dead
        }
    )
    for exposure_id in freed.failed:
        exposure = get_exposure(database, exposure_id)
        log.error("exposure %d failed: %s", exposure_id, exposure.reason if exposure else "")
    return freed, [one.exposure_id for one, since in ended.items() if now - since < _BACK_AFTER]


def _held_by_runs(database: Database) -> list[_Lease]:
    held = select(Exposure.id, Exposure.leased_by, Exposure.lease_until).where(
        Exposure.state == State.REDUCING, col(Exposure.leased_by).startswith(RUNS, autoescape=True)
    )
    with database.session() as session:
        return [
            _Lease(exposure_id or 0, worker or "", until)
            for exposure_id, worker, until in session.exec(held).all()
            if until is not None
        ]


def unsettled(database: Database, exposure_ids: Collection[int]) -> list[str]:
    """Return in words which of these exposures wait or are in work: each file, with who has it or why."""
    is_open = col(Exposure.state).in_([State.RECEIVED, State.REDUCING])
    wanted = select(Exposure).where(is_open).order_by(col(Exposure.id))
    with database.session() as session:
        found = [
            exposure
            for part in _parts(exposure_ids)
            for exposure in session.exec(wanted.where(col(Exposure.id).in_(part)))
        ]
    return [f"{one.path} ({_why_open(one)})" for one in found]


def _why_open(exposure: Exposure) -> str:
    if exposure.leased_by:
        return f"{shown_worker(exposure.leased_by)} has it"
    return exposure.reason or "nobody has taken it"


def _is_dead(one: _Lease, seen_ended: datetime | None, now: datetime) -> bool:
    lives = lives_here(one.worker)
    if lives is not None or seen_ended is None:
        return lives is False
    return now - seen_ended >= _BACK_AFTER or now - one.until >= _LONG_GONE


def _died(worker: str) -> str:
    return f"a run or backfill ({shown_worker(worker)}), which was killed, or its machine went away"


def _parts(exposure_ids: Collection[int]) -> Iterator[list[int]]:
    ids = list(exposure_ids)
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))
