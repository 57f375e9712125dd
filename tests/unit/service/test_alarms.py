"""What wakes a person, and what does not."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from nightflow.config import Settings
from nightflow.epochs import mjd_of
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.service import alarms as alarms_module
from nightflow.service.alarms import Alarms
from nightflow.store.database import Database
from nightflow.store.frames import record_frames
from nightflow.store.ledger import STORE, receive, requeue, settle_exposure
from nightflow.store.models import State
from nightflow.store.overview import failed_since
from nightflow.store.records import MeasurementColumns, ReductionRecord
from nightflow.store.writer import append
from tests.unit.store.builders import columns, sha, stars

MIDNIGHT = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
LA_PALMA = {"latitude": 28.76, "longitude": -17.88, "height": 2400.0}


def after(minutes: float) -> datetime:
    return MIDNIGHT + timedelta(minutes=minutes)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'nightflow.sqlite'}") as ledger:
        ledger.upgrade()
        yield ledger


class Watch:
    """Alarms and what they told."""

    def __init__(self, folder: Path, ledger: Database, now: datetime = MIDNIGHT, **settings: object) -> None:
        self.told: list[tuple[str, str]] = []
        self.alarms = Alarms(
            Settings(root=folder, **settings),  # type: ignore[arg-type]
            ledger,
            lambda event, text: self.told.append((event, text)),
            now,
        )

    def look(self, now: datetime) -> list[tuple[str, str]]:
        self.told.clear()
        self.alarms.look(now)
        return list(self.told)


def light(ledger: Database, number: int, zp: float | None, *, filter: str = "V") -> None:
    name = f"/incoming/{filter}{number:03d}.fits"
    received = receive(ledger, name, sha(name), 2880, now=after(number))
    header = FrameHeader(
        instrument="camera", kind=FrameKind.LIGHT, object="M 67", filter=filter, exptime=30.0,
        mjd_mid=mjd_of(after(number)), shape=(100, 100),
    )  # fmt: skip
    (frame,) = record_frames(ledger, received.exposure_id, [header])
    record = ReductionRecord(software="nightflow 0", plan_fingerprint=name, scale=1.0, zp=zp)
    rows: MeasurementColumns = columns(*stars(2), mjd=mjd_of(after(number)))
    append(ledger, frame, record, rows, now=after(number) + timedelta(seconds=5))
    settle_exposure(ledger, received.exposure_id, State.DONE, "", now=after(number))


def fail(ledger: Database, number: int, minutes: float) -> None:
    received = receive(ledger, f"/incoming/bad{number}.fits", sha(f"bad{number}"), 2880, now=after(minutes))
    settle_exposure(
        ledger, received.exposure_id, State.FAILED, f"Traceback\nKeyError: {number}", now=after(minutes)
    )


def test_frames_that_fail_are_told_once_and_together(tmp_path: Path, ledger: Database) -> None:
    fail(ledger, 0, -1.0)
    watch = Watch(tmp_path, ledger)
    assert watch.look(after(1)) == []
    for number in range(1, 6):
        fail(ledger, number, 1.5)
    ((event, text),) = watch.look(after(2))
    assert event == "failed_frames"
    assert text.startswith("5 frames failed")
    assert "/incoming/bad1.fits: KeyError: 1" in text
    assert "and 2 more" in text
    assert watch.look(after(3)) == []


def test_frames_that_meet_a_damaged_store_are_told(tmp_path: Path, ledger: Database) -> None:
    """They are held, and tried by the clock: nobody else would hear of it."""
    watch = Watch(tmp_path, ledger)
    for name, waits_for in (("disk.fits", "outside"), ("page.fits", STORE)):
        held = receive(ledger, f"/incoming/{name}", sha(name), 2880, now=after(0))
        settle_exposure(
            ledger, held.exposure_id, State.HELD, "XX001: damaged", now=after(1.5), waits_for=waits_for
        )
    ((event, text),) = watch.look(after(2))
    assert event == "failed_frames"
    assert "/incoming/page.fits: XX001: damaged" in text
    assert "disk.fits" not in text


def test_a_failure_that_is_committed_after_the_look_is_told_with_the_next_one(
    tmp_path: Path, ledger: Database
) -> None:
    """Its moment is taken before it has its turn at the store, for which it may wait."""
    watch = Watch(tmp_path, ledger)
    fail(ledger, 1, 0.8)
    assert [event for event, _ in watch.look(after(1))] == ["failed_frames"]
    fail(ledger, 2, 0.7)
    ((_, text),) = watch.look(after(2))
    assert text.startswith("a frame failed")
    assert "/incoming/bad2.fits" in text
    assert watch.look(after(3)) == []


def test_what_fails_once_more_is_told_once_more_and_nothing_older_than_the_service(
    tmp_path: Path, ledger: Database
) -> None:
    fail(ledger, 0, -0.1)
    watch = Watch(tmp_path, ledger)
    fail(ledger, 1, 0.5)
    assert len(watch.look(after(1))) == 1
    (again,) = [one.id for one in failed_since(ledger, MIDNIGHT)]
    assert again is not None
    requeue(ledger, [again], now=after(1.1))
    settle_exposure(ledger, again, State.FAILED, "KeyError: 1", now=after(1.2))
    ((_, text),) = watch.look(after(2))
    assert text.startswith("a frame failed")
    assert "/incoming/bad1.fits" in text


def test_what_was_told_is_remembered_no_longer_than_it_is_looked_at(tmp_path: Path, ledger: Database) -> None:
    watch = Watch(tmp_path, ledger)
    for number in range(8):
        fail(ledger, number, number + 0.5)
        assert len(watch.look(after(number + 1))) == 1
    assert len(watch.alarms._told_failures) <= 3


def test_a_night_without_frames_is_told_once(tmp_path: Path, ledger: Database) -> None:
    watch = Watch(tmp_path, ledger, site=LA_PALMA)
    light(ledger, 0, 24.0)
    assert watch.look(after(19)) == []
    ((event, text),) = watch.look(after(21))
    assert event == "no_frames"
    assert "20 minutes" in text
    assert "V000.fits" in text
    assert watch.look(after(22)) == []
    light(ledger, 25, 24.0)
    assert watch.look(after(26)) == []
    assert [event for event, _ in watch.look(after(46))] == ["no_frames"]


def test_by_day_nothing_is_missed(tmp_path: Path, ledger: Database) -> None:
    noon = MIDNIGHT + timedelta(hours=12)
    assert Watch(tmp_path, ledger, noon, site=LA_PALMA).look(noon + timedelta(hours=2)) == []


def test_at_dusk_the_telescope_gets_its_minutes(tmp_path: Path, ledger: Database) -> None:
    """It gets dark (-12 degrees) at 20:15 UTC there."""
    afternoon = datetime(2026, 3, 1, 15, 0, tzinfo=UTC)
    watch = Watch(tmp_path, ledger, afternoon, site=LA_PALMA)
    told = {minute: watch.look(afternoon + timedelta(minutes=minute)) for minute in range(0, 420, 5)}
    first = min(minute for minute, said in told.items() if said)
    assert 315 <= first <= 345
    assert sum(len(said) for said in told.values()) == 1


def test_without_a_site_no_night_is_guessed(tmp_path: Path, ledger: Database) -> None:
    assert Watch(tmp_path, ledger).look(after(600)) == []


def test_a_fall_of_the_zero_point_is_told_for_its_filter(tmp_path: Path, ledger: Database) -> None:
    watch = Watch(tmp_path, ledger)
    for number in range(8):
        light(ledger, number, 24.0 + 0.05 * (number % 3))
        light(ledger, number, 22.0, filter="U")
    assert watch.look(after(9)) == []
    light(ledger, 10, 23.3)
    light(ledger, 10, 22.0, filter="U")
    ((event, text),) = watch.look(after(11))
    assert event == "zero_point"
    assert "camera 1 V: the zero point fell by 0.75 mag to 23.30 (V010.fits)" in text
    assert watch.look(after(12)) == []


def test_a_frame_without_a_zero_point_and_the_first_of_a_filter_say_nothing(
    tmp_path: Path, ledger: Database
) -> None:
    watch = Watch(tmp_path, ledger)
    light(ledger, 1, 24.0)
    light(ledger, 2, None)
    light(ledger, 3, 20.0)
    assert watch.look(after(4)) == []


def test_little_room_is_told_once_until_there_is_room_again(
    tmp_path: Path, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SimpleNamespace(free=10 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    watch = Watch(tmp_path, ledger)
    assert watch.look(after(1)) == []
    room.free = 2**30
    assert {event for event, _ in watch.look(after(2))} == {"little_room"}
    assert watch.look(after(3)) == []
    room.free = 10 * 2**30
    assert watch.look(after(4)) == []
    room.free = 2**30
    ((_, text), *_) = watch.look(after(5))
    assert "1.0 GiB left" in text


def test_a_products_disk_that_hangs_keeps_nobody_from_looking_at_the_others(
    tmp_path: Path, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    waited_out: list[bool] = []

    def free_bytes(folder: Path) -> int:
        if folder == tmp_path / "products":
            waited_out.append(answers.wait(20))
        return 2**30

    monkeypatch.setattr(alarms_module, "ROOM_SECONDS", 0.1)
    monkeypatch.setattr(alarms_module, "free_bytes", free_bytes)
    watch = Watch(tmp_path, ledger)
    ((event, text),) = watch.look(after(1))
    assert (event, text.partition(":")[0]) == ("little_room", str(tmp_path))
    assert watch.look(after(2)) == []
    assert waited_out == []
    answers.set()
