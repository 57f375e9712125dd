"""The sensor of a live service: a thread that enters into the ledger what lands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from nightflow.config import Settings
from nightflow.sensor.places import Places, real_folder
from nightflow.sensor.register import LedgerRegistrar
from nightflow.sensor.sensor import Sensor
from nightflow.store.database import Database

__all__ = ["places", "start_sensor"]


def places(settings: Settings) -> Places:
    """Return what the sensor looks at, and how."""
    paths = settings.paths
    excluded = (paths.masters, paths.products, paths.catalogs, paths.index_files)
    return Places(
        folders=tuple(real_folder(settings.resolve(folder)) for folder in settings.watch.folders),
        excluded=tuple(real_folder(settings.resolve(folder)) for folder in excluded),
        settle_seconds=settings.watch.settle_seconds,
        sweep_seconds=settings.watch.sweep_seconds,
        polling=settings.watch.polling,
        poll_seconds=settings.watch.poll_seconds,
        max_pixels=settings.max_pixels,
    )


def start_sensor(
    settings: Settings, database: Database, stop: threading.Event, wake: asyncio.Event
) -> tuple[Sensor, threading.Thread]:
    """Start the sensor; it ends with ``stop``, and sets ``wake`` on the running loop when something came."""
    loop = asyncio.get_running_loop()
    registrar = LedgerRegistrar(
        database, now=lambda: datetime.now(UTC), on_received=lambda: _call_soon(loop, wake.set)
    )
    sensor = Sensor(places(settings), registrar=registrar)
    thread = threading.Thread(target=sensor.run, args=(stop,), name="sensor", daemon=True)
    thread.start()
    return sensor, thread


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the service has stopped
        loop.call_soon_threadsafe(callback)
