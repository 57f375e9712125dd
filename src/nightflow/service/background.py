"""What a live service does beside its exposures: keep its lock, give signs of life, keep house."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from nightflow.errors import NightflowError
from nightflow.sensor.sensor import Sensor
from nightflow.service.heartbeat import beat, forget_beat
from nightflow.service.instance_lock import InstanceLock, InstanceTaken
from nightflow.service.process import call_in_thread, in_daemon_thread

__all__ = ["Chore", "Housekeeping", "give_signs_of_life", "keep_house", "lasting", "stay_alone"]

log = logging.getLogger(__name__)

LOCK_SECONDS = 10.0
"""How often the service looks whether it is the ledger's only one still."""
BEAT_SECONDS = 5.0
"""How often the service gives a sign of life."""
HOUSEKEEPING_SECONDS = 60.0
"""How often each chore is done: masters of nights that are over, alarms, frames to be taken up again."""

AGAIN_SECONDS = 30.0
"""Until what a fault has ended is begun again."""

Chore = Callable[[datetime], object]
"""Is called with the time, now and then."""
Housekeeping = Callable[[Any], Sequence[Chore]]
"""Makes of a reducer what is done from time to time."""

_T = TypeVar("_T")


async def lasting(what: str, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do what has no end, and begin it anew where a fault of ours has ended it."""
    while True:
        try:
            await begin()
            return
        except Exception:  # the night goes on, and so shall this
            log.exception("%s: begun again after a fault", what)
        await asyncio.sleep(AGAIN_SECONDS)


async def stay_alone(lock: InstanceLock | None, stop: threading.Event) -> None:
    """Look after the lock; stop the service where another one has it.

    Raises
    ------
    InstanceTaken
        Another one has it.
    """
    while lock is not None:
        await asyncio.sleep(LOCK_SECONDS)
        try:
            await call_in_thread(lock.keep)
        except InstanceTaken:
            stop.set()
            raise
        except NightflowError as error:  # the workers say it
            log.debug("the lock of this service cannot be looked at: %s", error)
        except Exception:  # it is looked at again
            log.exception("the lock of this service cannot be looked at")


async def give_signs_of_life(file: Path, sensor: Sensor, in_work: Callable[[], int], ledger: str) -> None:
    """Write signs of life into a file, as long as there is life."""
    writing: set[asyncio.Task[None]] = set()
    try:
        while True:
            sign = call_in_thread(
                beat,
                file,
                now=datetime.now(UTC),
                in_work=in_work(),
                landing=sensor.waiting,
                unreadable=list(sensor.unreadable.values()),
                hanging={str(folder): seconds for folder, seconds in sensor.hanging.items()},
                unlisted={str(folder): fault for folder, fault in sensor.unlisted.items()},
                folders=len(sensor.folders),
                sensor_alive=sensor.alive,
                ledger=ledger,
            )
            writing = {asyncio.create_task(sign)}
            await asyncio.shield(*writing)
            await asyncio.sleep(BEAT_SECONDS)
    finally:
        if writing:  # one that is written after it was forgotten would tell of a service that died
            await asyncio.wait(writing)
        await call_in_thread(forget_beat, file)


async def keep_house(housekeeping: Housekeeping, current_reducer: Callable[[], Any]) -> None:
    """Do from time to time what no arrival brings about; one chore that goes wrong keeps back no other."""
    reducer, chores = None, None
    while True:
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
        if chores is None or reducer is not current_reducer():  # of settings that do not count any more
            reducer = current_reducer()
            chores = await _tried(partial(housekeeping, reducer))
        for chore in chores or ():
            await _tried(partial(chore, datetime.now(UTC)))


async def _tried(work: Callable[[], _T]) -> _T | None:
    """Return what is done in a thread; None, and that is told, where it goes wrong: it is tried again."""
    try:
        return await in_daemon_thread("housekeeping", work)
    except NightflowError as error:
        log.warning("housekeeping put off: %s", error)
    except Exception:  # the night goes on whatever is wrong with it
        log.exception("housekeeping failed; it is tried again")
    return None
