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
from typing import Any

import pytest

from nightflow.instruments.completeness import Completeness
from nightflow.sensor import sensor as sensor_module
from nightflow.sensor.folder import FolderSensor, Registrar
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


def test_a_folder_that_is_not_there_is_known_until_it_is_made(folders: tuple[Path, Path]) -> None:
    away, here = folders
    away.rmdir()
    registrar = HangingRegistrar(Path("/nowhere"))
    with running(Places(folders=folders, sweep_seconds=0.1), registrar) as sensor:
        wait_until(lambda: sensor.unlisted == {away: "cannot be listed: No such file or directory"})
        wait_until(lambda: not sensor.busy)
        away.mkdir()
        wait_until(lambda: not sensor.unlisted)
        here.rmdir()
        wait_until(lambda: list(sensor.unlisted) == [here])
        sensor.look_at(Places(folders=(away,)))
        assert sensor.unlisted == {}


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


def test_a_folder_whose_thread_cannot_be_started_holds_up_no_other_and_is_tried_again(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sensor_module, "BEGIN_AGAIN_SECONDS", 0.5)
    monkeypatch.setattr(sensor_module, "HANGS_AFTER", 0.1)
    away, here = folders
    for folder in folders:
        (folder / "a.fits").write_bytes(b"x")
    full, start = threading.Event(), threading.Thread.start
    full.set()

    def refuse(thread: threading.Thread) -> None:
        if full.is_set() and thread.name == f"sensor {away}":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    registrar = HangingRegistrar(Path("/nowhere"))
    with running(Places(folders=folders), registrar) as sensor:
        wait_until(lambda: registrar.registered == [here / "a.fits"])
        assert f"{away}: nothing is taken from there, it is tried again: can't start new" in caplog.text
        wait_until(lambda: away in sensor.hanging)
        full.clear()
        wait_until(lambda: len(registrar.registered) == 2)
        assert sensor.alive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_folder_whose_thread_has_ended_is_begun_anew(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sensor_module, "BEGIN_AGAIN_SECONDS", 0.05)
    _, here = folders
    turn, ended = FolderSensor.turn, threading.Event()

    def end_once(self: FolderSensor) -> None:
        if not ended.is_set():
            ended.set()
            raise GeneratorExit("what no guard takes for a fault")
        turn(self)

    monkeypatch.setattr(FolderSensor, "turn", end_once)
    registrar = HangingRegistrar(Path("/nowhere"))
    with running(Places(folders=(here,)), registrar):
        wait_until(ended.is_set)
        (here / "a.fits").write_bytes(b"x")
        wait_until(lambda: registrar.registered == [here / "a.fits"])
    assert f"{here}: its thread has ended; it is begun anew" in caplog.text


def test_a_fault_does_not_end_who_looks_after_the_folders(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    away, here = folders
    registrar = HangingRegistrar(Path("/nowhere"))
    faults, looked = [ZeroDivisionError("a bug")], threading.Event()

    def clock() -> float:
        if looked.is_set() and faults and threading.current_thread().name == "looks after":
            raise faults.pop()
        return time.monotonic()

    sensor = Sensor(
        Places(folders=(here,)),
        registrar=registrar,
        completeness=lambda _: Completeness.COMPLETE,
        clock=clock,
    )
    stop = threading.Event()
    thread = threading.Thread(target=sensor.run, args=(stop,), name="looks after")
    thread.start()
    try:
        looked.set()
        wait_until(lambda: not faults)
        assert sensor.alive
        sensor.look_at(Places(folders=(away,)))
        (away / "a.fits").write_bytes(b"x")
        wait_until(lambda: registrar.registered == [away / "a.fits"])
    finally:
        stop.set()
        thread.join(20)
    assert "looking after the folders failed" in caplog.text
    assert not sensor.alive


def test_it_is_busy_until_each_folder_that_answers_was_listed(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    away, here = folders
    monkeypatch.setattr(sensor_module, "HANGS_AFTER", 1.0)
    answers, walk = {away: threading.Event(), here: threading.Event()}, os.walk

    def slow_walk(top: Path, *arguments: Any, **options: Any) -> Iterator[Any]:
        if top in answers:
            answers[top].wait()
        return walk(top, *arguments, **options)

    monkeypatch.setattr(os, "walk", slow_walk)
    registrar = HangingRegistrar(away)
    sensor = Sensor(Places(folders=folders), registrar=registrar)
    assert sensor.busy, "nobody has looked at anything yet"
    try:
        with running(Places(folders=folders), registrar) as sensor:
            assert sensor.busy
            answers[here].set()
            wait_until(lambda: not sensor.busy)
            assert list(sensor.hanging) == [away], "it is not waited for"
            answers[away].set()
            wait_until(lambda: not sensor.hanging)
            wait_until(lambda: not sensor.busy)
            (away / "a.fits").write_bytes(b"x")
            assert registrar.reached.wait(20)
            wait_until(lambda: not sensor.busy)
            assert (list(sensor.hanging), sensor.waiting) == ([away], 1), "nor is what lands there"
            registrar.answers.set()
            wait_until(lambda: not sensor.waiting)
    finally:
        registrar.answers.set()
        for one in answers.values():
            one.set()
