"""A thread for each folder: what happens to one is nothing to the others."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightflow.instruments.completeness import Completeness
from nightflow.sensor import sensor as sensor_module
from nightflow.sensor.folder import Registrar
from nightflow.sensor.places import Places
from nightflow.sensor.register import LedgerRegistrar
from nightflow.sensor.sensor import Sensor
from nightflow.store.database import Database
from nightflow.store.models import State
from nightflow.store.overview import counts


class HangingRegistrar:
    """For files of one folder it never comes back, as a disk does whose server is away."""

    def __init__(self, hanging: Path) -> None:
        self.hanging = hanging
        self.registered: list[Path] = []
        self.reached, self.answers = threading.Event(), threading.Event()

    def known(self, path: Path, status: os.stat_result) -> bool:
        return False

    def register(self, path: Path) -> None:
        if path.is_relative_to(self.hanging):
            self.reached.set()
            self.answers.wait()
        self.registered.append(path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    away, here = tmp_path / "away", tmp_path / "here"
    for folder in (away, here):
        folder.mkdir()
    return away, here


@contextmanager
def running(places: Places, registrar: Registrar) -> Iterator[Sensor]:
    sensor = Sensor(places, registrar=registrar, completeness=lambda _: Completeness.COMPLETE)
    stop = threading.Event()
    thread = threading.Thread(target=sensor.run, args=(stop,))
    thread.start()
    try:
        yield sensor
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_disk_that_hangs_holds_up_no_other_folder_and_no_end(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sensor_module, "HANGS_AFTER", 1.0)
    monkeypatch.setattr(sensor_module, "LEAVE_SECONDS", 0.5)
    away, here = folders
    registrar = HangingRegistrar(away)
    (away / "a.fits").write_bytes(b"x")
    with caplog.at_level(logging.INFO), running(Places(folders=folders), registrar) as sensor:
        assert registrar.reached.wait(20)
        (here / "b.fits").write_bytes(b"x")
        wait_until(lambda: registrar.registered == [here / "b.fits"])
        wait_until(lambda: f"{away}: has not answered for" in caplog.text)
        assert list(sensor.hanging) == [away]
        registrar.answers.set()
        wait_until(lambda: f"{away}: it answers again" in caplog.text)
        assert sensor.hanging == {}
        assert away / "a.fits" in registrar.registered
        registrar.answers.clear()
        registrar.reached.clear()
        (away / "c.fits").write_bytes(b"x")
        assert registrar.reached.wait(20)
    registrar.answers.set()
    assert f"{here}: has not answered" not in caplog.text


def test_other_folders_while_it_runs(folders: tuple[Path, Path]) -> None:
    away, here = folders
    for folder in folders:
        (folder / "a.fits").write_bytes(b"x")
    registrar = HangingRegistrar(Path("/nowhere"))
    with running(Places(folders=(here,)), registrar) as sensor:
        wait_until(lambda: registrar.registered == [here / "a.fits"])
        sensor.look_at(Places(folders=(away,)))
        wait_until(lambda: registrar.registered == [here / "a.fits", away / "a.fits"])
        (here / "b.fits").write_bytes(b"x")
        (away / "b.fits").write_bytes(b"x")
        wait_until(lambda: len(registrar.registered) == 3)
        assert registrar.registered[2] == away / "b.fits"


def test_a_folder_that_is_taken_away_and_given_back_at_once(folders: tuple[Path, Path]) -> None:
    away, here = folders
    registrar = HangingRegistrar(Path("/nowhere"))
    (here / "a.fits").write_bytes(b"x")
    with running(Places(folders=(here,)), registrar) as sensor:
        wait_until(lambda: registrar.registered == [here / "a.fits"])
        sensor.look_at(Places(folders=(away,)))
        sensor.look_at(Places(folders=(here,)))
        (here / "b.fits").write_bytes(b"x")
        wait_until(lambda: here / "b.fits" in registrar.registered)


def test_the_threads_write_into_one_ledger(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    """The same frames come into both folders at once: each has one row, and one that says it came twice."""
    for number in range(20):
        for folder in folders:
            (folder / f"{number}.fits").write_bytes(b"%d" % number)
    with Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as database:
        database.upgrade()
        registrar = LedgerRegistrar(database, now=lambda: datetime.now(UTC))
        with running(Places(folders=folders), registrar):
            wait_until(lambda: sum(counts(database).values()) == 40)
        assert counts(database)[State.RECEIVED] == counts(database)[State.DUPLICATE] == 20
