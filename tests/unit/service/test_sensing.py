"""Where the sensor of a live service looks."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from nightflow.config import Settings
from nightflow.sensor import places as places_module
from nightflow.service.sensing import places, start_sensor
from nightflow.store.database import Database


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Frames and products lie on disks of their own, to which links lead."""
    for name in ("incoming", "products"):
        (tmp_path / f"{name}-disk").mkdir()
        (tmp_path / name).symlink_to(tmp_path / f"{name}-disk")
    return Settings(root=tmp_path)


def test_frames_are_looked_for_where_the_links_lead(settings: Settings, tmp_path: Path) -> None:
    assert places(settings).folders == (tmp_path / "incoming-disk",)


def test_products_are_not_watched_by_either_of_their_names(settings: Settings, tmp_path: Path) -> None:
    assert {tmp_path / "products", tmp_path / "products-disk"} <= set(places(settings).excluded)


def test_disks_are_asked_where_they_are_while_the_service_goes_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here they answer only when it does."""
    goes_on, resolve, stop = threading.Event(), Path.resolve, threading.Event()
    monkeypatch.setattr(places_module, "ANSWER_SECONDS", 5.0)

    def answer(folder: Path) -> Path:
        if folder.parent == tmp_path:
            goes_on.wait(60)
        return resolve(folder)

    async def main(database: Database) -> tuple[Path, ...]:
        asyncio.get_running_loop().call_soon(goes_on.set)
        sensor, thread = await start_sensor(settings, database, stop, asyncio.Event())
        stop.set()
        await asyncio.to_thread(thread.join, 20)
        return sensor.folders

    with Database(settings.store_url) as database:
        database.upgrade()
        monkeypatch.setattr(Path, "resolve", answer)
        assert asyncio.run(main(database)) == (tmp_path / "incoming-disk",)
