"""`watch` as a whole, without a Prefect server."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightflow.config import Settings
from nightflow.errors import ConfigurationError, RetryLater
from nightflow.pipeline.reducer import Reducer
from nightflow.service import background, chores, live
from nightflow.service.heartbeat import heartbeat_file
from nightflow.service.instance_lock import only_instance
from nightflow.service.live import watch
from nightflow.service.live_service import LiveService
from nightflow.store.database import Database
from nightflow.store.leases import lease
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import State
from nightflow.store.overview import counts, frame_rows
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


def received(database: Database, folder: Path) -> int:
    """A file of the ledger that lies where nobody watches, and is no frame."""
    file = folder / "elsewhere.fits"
    file.write_bytes(b"no frame")
    database.upgrade()
    return receive(database, str(file), "0" * 64, 8, now=datetime.now(UTC)).exposure_id


def until_rejected(settings: Settings) -> dict[State, int]:
    """Watch until an exposure is rejected; how long that takes is the machine's affair."""
    stop = threading.Event()

    def look() -> None:
        end = time.monotonic() + 60
        # The nursery is forked with no other thread at work: it would keep what locks that one holds.
        while not heartbeat_file(settings.file).exists() and time.monotonic() < end:
            time.sleep(0.1)
        with Database(settings.store_url) as database:
            while counts(database)[State.REJECTED] == 0 and time.monotonic() < end:
                time.sleep(0.1)
        stop.set()

    threading.Thread(target=look).start()
    return watch(settings, stop=stop)


def test_garbage_that_lands_is_rejected_with_a_reason(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "incoming/picture.fits").write_bytes(b"\x89PNG no frame at all")
    assert watch(settings, until_idle=1.0)[State.REJECTED] == 1
    with Database(settings.store_url) as database:
        [row] = frame_rows(database)
    assert "picture.fits" in row["reason"]


def test_what_a_dead_service_held_is_reduced(settings: Settings, tmp_path: Path) -> None:
    with Database(settings.store_url) as database:
        received(database, tmp_path)
        assert lease(database, "watch:dome:4711", now=datetime.now(UTC), seconds=3600) is not None
    ended = watch(settings, until_idle=0.5)
    assert (ended[State.REDUCING], ended[State.REJECTED]) == (0, 1)


def test_what_a_backfill_held_that_died_meanwhile_is_reduced(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the service would leave to it, for an hour, what it has queued."""
    monkeypatch.setattr(background, "HOUSEKEEPING_SECONDS", 0.2)
    with Database(settings.store_url) as database:
        received(database, tmp_path)
        assert lease(database, dead_run(), now=datetime.now(UTC), seconds=3600) is not None
    ended = until_rejected(settings)
    assert (ended[State.REDUCING], ended[State.REJECTED]) == (0, 1)


def done(database: Database, names: Iterable[str]) -> list[int]:
    """Exposures that were done in this order."""
    ids = []
    for name in names:
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        ids.append(receive(database, f"/raw/{name}", sha256, 8, now=datetime.now(UTC)).exposure_id)
        settle_exposure(database, ids[-1], State.DONE, "", now=datetime.now(UTC))
    return ids


def test_what_was_done_as_a_service_died_is_followed_up_whatever_its_successor_does_first(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog is done before the successor first keeps house: what was done last is then not the same."""
    followed: list[int] = []
    turns: list[datetime] = []
    stop = threading.Event()
    run, free_dead_runs = LiveService.run, chores.free_dead_runs

    async def run_with_a_backlog(service: LiveService) -> None:
        with Database(settings.store_url) as database:
            done(database, (f"backlog{number}.fits" for number in range(live._FOLLOWED_AGAIN + 1)))
        await run(service)

    def until_the_second_turn(database: Database, now: datetime) -> Any:
        turns.append(now)
        if len(turns) == 2:
            stop.set()
        return free_dead_runs(database, now)

    monkeypatch.setattr(background, "HOUSEKEEPING_SECONDS", 0.05)
    monkeypatch.setattr(LiveService, "run", run_with_a_backlog)
    monkeypatch.setattr(chores, "free_dead_runs", until_the_second_turn)
    monkeypatch.setattr(Reducer, "follow_up", lambda _, exposure_id: followed.append(exposure_id))
    with Database(settings.store_url) as database:
        database.upgrade()
        before = done(database, ["a.fits", "b.fits"])
    watch(settings, stop=stop, until_idle=60)
    assert followed == before


def test_what_waits_for_a_profile_is_taken_up_at_the_start(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was last tried with is not what there is now."""
    monkeypatch.setattr(background, "HOUSEKEEPING_SECONDS", 0.2)
    with Database(settings.store_url) as database:
        settle_exposure(
            database,
            received(database, tmp_path),
            State.HELD,
            "no profile",
            now=datetime.now(UTC),
            waits_for="profile",
            plan_fingerprint="a:b",
        )
    ended = until_rejected(settings)
    assert (ended[State.HELD], ended[State.REJECTED]) == (0, 1)


def test_two_services_on_one_ledger_are_refused(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Database(settings.store_url) as database:
        database.upgrade()
        with only_instance(database), pytest.raises(ConfigurationError, match="another `nightflow watch`"):
            watch(settings, until_idle=0.1)
    assert "watching" not in caplog.text, "the second one does not"


def test_it_stops_when_it_is_told(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    assert sum(watch(settings, stop=stop).values()) == 0
    assert f"watching {settings.root / 'incoming'}" in caplog.text


def hanging(waited_out: list[bool], answers: threading.Event) -> Any:
    """Return what does not answer before it may, and says then that somebody has waited for it."""

    def hang(*_: Any) -> dict[State, int]:
        waited_out.append(answers.wait(20))
        return {State.DONE: 1}

    return hang


def test_a_stop_does_not_wait_for_a_store_that_cannot_count(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waited_out: list[bool] = []
    answers = threading.Event()
    monkeypatch.setattr(live, "COUNT_SECONDS", 0.2)
    monkeypatch.setattr(live, "counts", hanging(waited_out, answers))
    assert watch(settings, until_idle=0.1) == {}
    assert waited_out == []
    assert "exposures are not counted" in caplog.text
    assert "does not answer" in caplog.text
    answers.set()


def test_a_store_that_is_away_at_the_end_makes_no_failure_of_a_stop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(_: Database) -> dict[State, int]:
        raise RetryLater("the database is down")

    monkeypatch.setattr(live, "counts", away)
    assert watch(settings, until_idle=0.1) == {}
    assert "exposures are not counted: the database is down" in caplog.text


def test_frames_do_not_wait_for_a_products_disk_that_hangs(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited_out: list[bool] = []
    answers = threading.Event()
    monkeypatch.setattr(live, "remove_leftovers", hanging(waited_out, answers))
    (tmp_path / "incoming/picture.fits").write_bytes(b"no frame at all")
    assert watch(settings, until_idle=1.0)[State.REJECTED] == 1
    assert waited_out == []
    answers.set()


def test_what_a_dead_service_has_half_written_is_removed(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "products").mkdir()
    left = tmp_path / "products" / f".{'0' * 32}.tmp"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    watch(settings, until_idle=0.1)
    for thread in threading.enumerate():
        if thread.name == "leftovers":
            thread.join(10)
    assert not left.exists()
