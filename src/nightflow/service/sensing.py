"""The sensor of a live service: a thread that enters into the ledger what lands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from nightflow.config import Settings
from nightflow.sensor.places import Places, real_folders
from nightflow.sensor.register import LedgerRegistrar
from nightflow.sensor.sensor import Sensor
from nightflow.service.process import call_in_thread
from nightflow.store.database import Database

__all__ = ["places", "start_sensor"]


def places(settings: Settings) -> Places:
    """Return what the sensor looks at, and how; disks are asked where they are, so not on an event loop."""
    paths = settings.paths
    folders = [settings.resolve(folder) for folder in settings.watch.folders]
    excluded = [
        settings.resolve(folder)
        for folder in (paths.masters, paths.products, paths.catalogs, paths.index_files)
    ]
    real = real_folders([*folders, *excluded])
    # As they are and as they are named: where a disk did not answer, only the one or the other is met.
    both = (*real[len(folders) :], *(folder.absolute() for folder in excluded))
    return Places(
        folders=tuple(dict.fromkeys(real[: len(folders)])),
        excluded=tuple(dict.fromkeys(both)),
        settle_seconds=settings.watch.settle_seconds,
        sweep_seconds=settings.watch.sweep_seconds,
        polling=settings.watch.polling,
        poll_seconds=settings.watch.poll_seconds,
        max_pixels=settings.max_pixels,
    )


async def start_sensor(
    settings: Settings, database: Database, stop: threading.Event, wake: asyncio.Event
) -> tuple[Sensor, threading.Thread]:
    """Start the sensor; it ends with ``stop``, and sets ``wake`` on the running loop when something came."""
    loop = asyncio.get_running_loop()
    registrar = LedgerRegistrar(
        database, now=lambda: datetime.now(UTC), on_received=lambda: _call_soon(loop, wake.set)
    )
    sensor = Sensor(await call_in_thread(places, settings), registrar=registrar)
    thread = threading.Thread(target=sensor.run, args=(stop,), name="sensor", daemon=True)
    thread.start()
    return sensor, thread


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the service has stopped
        loop.call_soon_threadsafe(callback)
