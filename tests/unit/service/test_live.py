"""`watch` as a whole, without a Prefect server."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightflow.config import Settings
from nightflow.errors import ConfigurationError
from nightflow.service import background, live
from nightflow.service.instance_lock import only_instance
from nightflow.service.live import watch
from nightflow.store.database import Database
from nightflow.store.leases import lease
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import State
from nightflow.store.overview import frame_rows
from tests.unit.pipeline.processes import dead_run


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here needs a warm worker."""
    monkeypatch.setattr(live, "warm_up", lambda: None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "incoming").mkdir()
    return Settings(
        root=tmp_path,
        watch={"settle_seconds": 0.1},
        prefect={"enabled": False},  # type: ignore[arg-type]
    )


def test_garbage_that_lands_is_rejected_with_a_reason(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "incoming/picture.fits").write_bytes(b"\x89PNG no frame at all")
    assert watch(settings, until_idle=1.0)[State.REJECTED] == 1
    with Database(settings.store_url) as database:
        [row] = frame_rows(database)
    assert "picture.fits" in row["reason"]


def test_what_a_dead_service_held_is_reduced(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.fits"
    file.write_bytes(b"no frame")
    now = datetime.now(UTC)
    with Database(settings.store_url) as database:
        database.upgrade()
        receive(database, str(file), "0" * 64, 8, now=now)
        assert lease(database, "watch:dome:4711", now=now, seconds=3600) is not None
    ended = watch(settings, until_idle=0.5)
    assert (ended[State.REDUCING], ended[State.REJECTED]) == (0, 1)


def test_what_a_backfill_held_that_died_meanwhile_is_reduced(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the service would leave to it, for an hour, what it has queued."""
    monkeypatch.setattr(background, "HOUSEKEEPING_SECONDS", 0.2)
    file = tmp_path / "elsewhere.fits"
    file.write_bytes(b"no frame")
    now = datetime.now(UTC)
    with Database(settings.store_url) as database:
        database.upgrade()
        receive(database, str(file), "0" * 64, 8, now=now)
        assert lease(database, dead_run(), now=now, seconds=3600) is not None
    ended = watch(settings, until_idle=2.0)
    assert (ended[State.REDUCING], ended[State.REJECTED]) == (0, 1)


def test_what_waits_for_a_profile_is_taken_up_at_the_start(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was last tried with is not what there is now."""
    monkeypatch.setattr(background, "HOUSEKEEPING_SECONDS", 0.2)
    file = tmp_path / "elsewhere.fits"
    file.write_bytes(b"no frame")
    now = datetime.now(UTC)
    with Database(settings.store_url) as database:
        database.upgrade()
        taken = receive(database, str(file), "0" * 64, 8, now=now)
        settle_exposure(
            database,
            taken.exposure_id,
            State.HELD,
            "no profile",
            now=now,
            waits_for="profile",
            plan_fingerprint="a:b",
        )
    ended = watch(settings, until_idle=2.0)
    assert (ended[State.HELD], ended[State.REJECTED]) == (0, 1)


def test_two_services_on_one_ledger_are_refused(settings: Settings) -> None:
    with Database(settings.store_url) as database:
        database.upgrade()
        with only_instance(database), pytest.raises(ConfigurationError, match="another `nightflow watch`"):
            watch(settings, until_idle=0.1)


def test_it_stops_when_it_is_told(settings: Settings) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    assert sum(watch(settings, stop=stop).values()) == 0
