"""The sensor's turns, on real folders, with a clock that the test moves."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from astropy.io.fits import PrimaryHDU
from watchdog.observers.inotify_c import InotifyFD

from nightflow.errors import RetryLater
from nightflow.instruments.completeness import Completeness
from nightflow.sensor import folder as folder_module
from nightflow.sensor import places as places_module
from nightflow.sensor import sweep as sweep_module
from nightflow.sensor.folder import FolderSensor
from nightflow.sensor.places import Places
from nightflow.sensor.sweep import regular_status
from nightflow.sensor.watch import Hint
from tests.unit.sensor.open_instances import open_instances


class FakeRegistrar:
    """Remembers what it was shown; refuses what it is told to."""

    def __init__(self) -> None:
        self.registered: list[Path] = []
        self.known_paths: set[Path] = set()
        self.faults: dict[Path, Exception] = {}

    def known(self, path: Path, status: os.stat_result) -> bool:
        return path in self.known_paths

    def register(self, path: Path) -> None:
        if path in self.faults:
            raise self.faults[path]
        self.registered.append(path)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registrar() -> FakeRegistrar:
    return FakeRegistrar()


@pytest.fixture
def _turns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a turn not wait for hints: it is the clock of the test that goes on."""
    monkeypatch.setattr(folder_module, "TURN_SECONDS", 0.001)


@pytest.fixture
def sensor(tmp_path: Path, registrar: FakeRegistrar, clock: Clock) -> Iterator[FolderSensor]:
    """A sensor for which a file is whole when it ends in "end", and garbage when it holds "garbage"."""

    def completeness(path: Path) -> Completeness:
        content = path.read_bytes()
        if b"garbage" in content:
            return Completeness.UNKNOWN
        return Completeness.COMPLETE if content.endswith(b"end") else Completeness.INCOMPLETE

    places = Places(folders=(tmp_path,), settle_seconds=1.0, sweep_seconds=30.0)
    sensor = FolderSensor(tmp_path, places, registrar=registrar, completeness=completeness, clock=clock)
    yield sensor
    sensor._watcher.stop()


def test_a_sweep_finds_what_was_there_before(
    tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock
) -> None:
    frame = tmp_path / "night/a.fits"
    frame.parent.mkdir()
    frame.write_bytes(b"end")
    sensor.turn()
    assert registrar.registered == []
    assert sensor.waiting == 1
    clock.now += 0.3
    sensor.turn()
    assert registrar.registered == [frame]
    assert sensor.waiting == 0


def test_a_half_written_file_waits_for_its_end(
    tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock
) -> None:
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"beginning")
    sensor.turn()
    clock.now += 9
    sensor.turn()
    assert registrar.registered == []
    frame.write_bytes(b"beginning and end")
    sensor.turn()
    clock.now += 0.3
    sensor.turn()
    assert registrar.registered == [frame]


@pytest.mark.parametrize(("content", "seconds"), [(b"garbage", 1.0), (b"", 10.0), (b"cut", 10.0)])
def test_garbage_is_handed_over_in_its_time(
    tmp_path: Path,
    sensor: FolderSensor,
    registrar: FakeRegistrar,
    clock: Clock,
    content: bytes,
    seconds: float,
) -> None:
    frame = tmp_path / "a.fits"
    frame.write_bytes(content)
    sensor.turn()
    clock.now += seconds - 0.1
    sensor.turn()
    assert registrar.registered == []
    clock.now += 0.2
    sensor.turn()
    assert registrar.registered == [frame]


def test_a_known_file_is_left_alone(
    tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock
) -> None:
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"end")
    registrar.known_paths.add(frame)
    for _ in range(3):
        sensor.turn()
        clock.now += 31
    assert registrar.registered == []
    frame.write_bytes(b"new content and end")
    sensor.turn()
    clock.now += 1
    sensor.turn()
    assert registrar.registered == [frame]


def test_sweeps_do_not_register_twice(
    tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock
) -> None:
    (tmp_path / "a.fits").write_bytes(b"end")
    for _ in range(5):
        sensor.turn()
        clock.now += 31
    assert len(registrar.registered) == 1


def test_one_bad_file_delays_only_itself(
    tmp_path: Path,
    sensor: FolderSensor,
    registrar: FakeRegistrar,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good = tmp_path / "a.fits", tmp_path / "b.fits"
    for path in (bad, good):
        path.write_bytes(b"end")
    registrar.faults[bad] = RetryLater("it changed while it was read")
    sensor.turn()
    clock.now += 0.5
    with caplog.at_level(logging.WARNING):
        sensor.turn()
    assert registrar.registered == [good]
    assert "it changed while it was read" in caplog.text
    del registrar.faults[bad]
    sensor.turn()
    assert registrar.registered == [good], "tried again before its pause was over"
    clock.now += 1.1
    sensor.turn()
    assert registrar.registered == [good, bad]


@pytest.mark.usefixtures("_turns_at_once")
def test_pauses_grow_with_each_failure(
    tmp_path: Path,
    sensor: FolderSensor,
    registrar: FakeRegistrar,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"end")
    registrar.faults[frame] = RetryLater("store locked")
    with caplog.at_level(logging.DEBUG):
        for _ in range(80):
            clock.now += 1
            sensor.turn()
    # After 1, 2, 4, 8, 16 and 32 seconds: 63 in all.
    tries = [record.levelname for record in caplog.records if "not registered" in record.message]
    assert tries == ["WARNING", *["DEBUG"] * 6]
    assert sensor.waiting == 1
    assert sensor.unreadable == {}


@pytest.mark.usefixtures("_turns_at_once")
def test_a_file_that_cannot_be_read_is_told_once_and_not_waited_for(
    tmp_path: Path,
    sensor: FolderSensor,
    registrar: FakeRegistrar,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"end")
    refused = RetryLater(f"{frame}: cannot be read: Permission denied")
    refused.__cause__ = PermissionError(13, "Permission denied")
    registrar.faults[frame] = refused
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            clock.now += 1
            sensor.turn()
        assert (sensor.waiting, caplog.text) == (1, ""), "its rights may be on their way"
        for _ in range(100):
            clock.now += 1
            sensor.turn()
    assert sensor.waiting == 0
    assert sensor.unreadable == {frame: f"{frame}: cannot be read: Permission denied"}
    assert caplog.text.count("Permission denied; it is taken when it can be read") == 1
    registrar.faults.clear()
    clock.now += 60
    sensor.turn()
    assert registrar.registered == [frame]
    assert sensor.unreadable == {}


def test_a_vanished_file_is_forgotten(tmp_path: Path, sensor: FolderSensor, clock: Clock) -> None:
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"beginning")
    sensor.turn()
    assert sensor.waiting == 1
    frame.unlink()
    sensor.turn()
    assert sensor.waiting == 0


def test_a_closed_file_needs_no_rest(tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar) -> None:
    sensor.turn()
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"end")
    sensor._watcher.hints.put(Hint(path=frame, root=tmp_path, closed=True))
    sensor.turn()
    assert registrar.registered == [frame]


def test_headers_that_cannot_be_judged_leave_the_rest_to_time(
    tmp_path: Path, registrar: FakeRegistrar, clock: Clock
) -> None:
    def broken(path: Path) -> Completeness:
        raise ValueError("headers of a hostile kind")

    sensor = FolderSensor(
        tmp_path, Places(folders=(tmp_path,)), registrar=registrar, completeness=broken, clock=clock
    )
    (tmp_path / "a.fits").write_bytes(b"x")
    sensor.turn()
    clock.now += 1
    sensor.turn()
    assert registrar.registered == [tmp_path / "a.fits"]


def test_other_ways_from_the_next_turn_on(
    tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock
) -> None:
    sensor.turn()
    frame, product = tmp_path / "a.fits", tmp_path / "products/b.fits"
    product.parent.mkdir()
    for path in (frame, product):
        path.write_bytes(b"end")
    sensor.look_at(Places(folders=(tmp_path,), excluded=(product.parent,)))
    sensor.turn()
    clock.now += 1
    sensor.turn()
    assert registrar.registered == [frame]


def test_a_file_that_comes_again_with_the_time_of_its_content_is_looked_at(
    tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock
) -> None:
    """As `cp -p` and rsync copy; meanwhile its exposure may wait for it."""
    frame = tmp_path / "a.fits"
    for _ in range(2):
        frame.write_bytes(b"end")
        os.utime(frame, (1e9, 1e9))
        sensor._watcher.hints.put(Hint(path=frame, root=tmp_path, closed=True))
        sensor.turn()
        frame.unlink()
        sensor.turn()
    assert registrar.registered == [frame, frame]


def test_lost_events_bring_a_sweep(
    tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock
) -> None:
    sensor.turn()
    (tmp_path / "a.fits").write_bytes(b"end")
    sensor.turn()
    assert sensor.waiting == 0, "neither an event nor a sweep told of it"
    sensor._watcher.lost.set()
    sensor.turn()
    clock.now += 0.5
    sensor.turn()
    assert registrar.registered == [tmp_path / "a.fits"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_has_no_end_is_no_file(
    tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock, kind: str
) -> None:
    """Whoever opens a pipe that nobody fills, or reads /dev/zero to its end, stands still for good."""
    odd = tmp_path / "a.fits"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero")
    sensor._watcher.hints.put(Hint(path=odd, root=tmp_path, closed=True))
    sensor.turn()
    assert sensor.waiting == 0
    odd.unlink()
    odd.write_bytes(b"end")
    sensor._watcher.hints.put(Hint(path=odd, root=tmp_path, closed=True))
    sensor.turn()
    assert registrar.registered == [odd]


def test_a_file_is_looked_into_once_however_many_events_tell_of_it(
    tmp_path: Path, registrar: FakeRegistrar, clock: Clock
) -> None:
    """As a slow writer of a `.gz` makes them: whoever unpacks it at each change is never done."""
    looks: list[Path] = []

    def completeness(path: Path) -> Completeness:
        looks.append(path)
        return Completeness.COMPLETE

    sensor = FolderSensor(
        tmp_path, Places(folders=(tmp_path,)), registrar=registrar, completeness=completeness, clock=clock
    )
    frame = tmp_path / "a.fits.gz"
    for size in range(20):
        frame.write_bytes(bytes(size))
        for _ in range(3):
            sensor._watcher.hints.put(Hint(path=frame, root=tmp_path))
        sensor.turn()
        clock.now += 0.1
    assert looks == []
    for _ in range(3):
        sensor._watcher.hints.put(Hint(path=frame, root=tmp_path))
    sensor._watcher.hints.put(Hint(path=frame, root=tmp_path, closed=True))
    sensor.turn()
    assert looks == registrar.registered == [frame]


@pytest.mark.usefixtures("_turns_at_once")
def test_on_a_network_disk_a_whole_file_rests_for_longer(
    tmp_path: Path, registrar: FakeRegistrar, clock: Clock
) -> None:
    """What such a disk says of size and time may be three seconds old."""
    places = Places(folders=(tmp_path,), polling="always", settle_seconds=1.0)
    sensor = FolderSensor(
        tmp_path, places, registrar=registrar, completeness=lambda _: Completeness.COMPLETE, clock=clock
    )
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"end")
    sensor.turn()
    for _ in range(29):
        clock.now += 0.1
        sensor.turn()
    assert registrar.registered == []
    clock.now += 0.2
    sensor.turn()
    assert registrar.registered == [frame]


@pytest.mark.usefixtures("_turns_at_once")
def test_a_subfolder_that_the_system_does_not_watch_is_listed_often(
    tmp_path: Path,
    sensor: FolderSensor,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    night, other = tmp_path / "night", tmp_path / "other"
    for folder in (night, night / "deep", other):
        folder.mkdir(parents=True)
    watch = InotifyFD.add_callback

    def refuse(self: InotifyFD, path: bytes, *arguments: Any) -> int:
        if path.startswith(os.fsencode(night)):
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        return watch(self, path, *arguments)

    monkeypatch.setattr(InotifyFD, "add_callback", refuse)
    sensor._watcher.start()
    try:
        sensor.turn()
        (night / "deep/a.fits").write_bytes(b"beginning")
        clock.now += 2.1
        sensor.turn()
        assert sensor.waiting == 1
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                clock.now += 31
                sensor.turn()
    finally:
        sensor._watcher.stop()
    assert caplog.text.count("no events from") == 1
    assert f"{night}, and 0 more; they are listed every 2 s" in caplog.text
    assert "raise fs.inotify.max_user_watches" in caplog.text


@pytest.mark.usefixtures("_turns_at_once")
def test_a_link_to_a_folder_is_told_once_and_not_followed(
    tmp_path: Path, registrar: FakeRegistrar, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    incoming, elsewhere, watched = tmp_path / "incoming", tmp_path / "elsewhere", tmp_path / "watched"
    for folder in (incoming, elsewhere, watched):
        folder.mkdir()
    (elsewhere / "a.fits").write_bytes(b"end")
    (incoming / "link").symlink_to(elsewhere)
    (incoming / "upwards").symlink_to(incoming)
    (incoming / "known").symlink_to(watched)
    sensor = FolderSensor(
        incoming,
        Places(folders=(incoming, watched)),
        registrar=registrar,
        completeness=lambda _: Completeness.COMPLETE,
        clock=clock,
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            sensor.turn()
            clock.now += 31
    assert registrar.registered == []
    [record] = caplog.records
    assert f"{incoming / 'link'}: a link to a folder is not followed" in record.message
    assert f"add {elsewhere} to [watch] folders" in record.message


def test_a_folder_without_events_is_listed_often(
    tmp_path: Path, registrar: FakeRegistrar, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    places = Places(folders=(tmp_path,), sweep_seconds=30.0, polling="always", poll_seconds=2.0)
    sensor = FolderSensor(
        tmp_path, places, registrar=registrar, completeness=lambda _: Completeness.COMPLETE, clock=clock
    )
    with caplog.at_level(logging.INFO):
        sensor.turn()
    assert f"{tmp_path}: listed every 2 s" in caplog.text
    sensor.turn()
    (tmp_path / "a.fits").write_bytes(b"end")
    clock.now += 1.9
    sensor.turn()
    assert sensor.waiting == 0
    clock.now += 0.2
    sensor.turn()
    assert sensor.waiting == 1


@pytest.mark.parametrize(("polling", "sweep_seconds"), [("always", 1000.0), ("never", 0.5)])
@pytest.mark.usefixtures("_turns_at_once")
def test_listing_takes_a_tenth_of_the_time_at_most(
    tmp_path: Path,
    registrar: FakeRegistrar,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    polling: Literal["always", "never"],
    sweep_seconds: float,
) -> None:
    listed: list[float] = []

    def slow_walk(folder: Path, **_: object) -> Iterator[tuple[str, list[str], list[str]]]:
        listed.append(clock.now)
        clock.now += 1.0
        yield str(folder), [], []

    monkeypatch.setattr(os, "walk", slow_walk)
    places = Places(folders=(tmp_path,), sweep_seconds=sweep_seconds, polling=polling, poll_seconds=2.0)
    sensor = FolderSensor(tmp_path, places, registrar=registrar, clock=clock)
    while clock.now < 50:
        sensor.turn()
        clock.now += 0.25
    pauses = [later - earlier for earlier, later in itertools.pairwise(listed)]
    assert len(pauses) >= 3
    assert min(pauses) >= 10.0


@pytest.mark.usefixtures("_turns_at_once")
def test_a_frame_does_not_wait_for_the_end_of_a_long_listing(
    tmp_path: Path,
    sensor: FolderSensor,
    registrar: FakeRegistrar,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def endless_walk(folder: Path, **_: object) -> Iterator[tuple[str, list[str], list[str]]]:
        while True:
            clock.now += 0.05
            yield str(folder), [], []

    monkeypatch.setattr(os, "walk", endless_walk)
    sensor.turn()
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"end")
    sensor._watcher.hints.put(Hint(path=frame, root=tmp_path, closed=True))
    sensor.turn()
    assert registrar.registered == [frame]


@pytest.mark.parametrize(("polling", "silent", "polled"), [
    ("auto", True, True), ("auto", False, False), ("always", False, True), ("never", True, False),
])  # fmt: skip
def test_which_folders_are_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, polling: str, silent: bool, polled: bool
) -> None:
    monkeypatch.setattr(places_module, "is_silent", lambda folder: silent)
    places = Places(folders=(tmp_path,), polling=polling)  # type: ignore[arg-type]
    assert places.is_polled(tmp_path) == polled


def test_the_thread_sees_events_and_stops(tmp_path: Path, registrar: FakeRegistrar) -> None:
    """With real events and the real clock: a file moved into place is registered, far sooner than a sweep."""
    places = Places(folders=(tmp_path,), sweep_seconds=600)
    sensor = FolderSensor(
        tmp_path, places, registrar=registrar, completeness=lambda path: Completeness.COMPLETE
    )
    stop, seen = threading.Event(), threading.Event()
    register = registrar.register
    registrar.register = lambda path: (register(path), seen.set())  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=sensor.run, args=(stop,))
    thread.start()
    try:
        while not sensor.listed:
            assert thread.is_alive()
        (tmp_path / ".a.fits.part").write_bytes(b"x")
        (tmp_path / ".a.fits.part").rename(tmp_path / "a.fits")
        assert seen.wait(5)
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()
    assert registrar.registered == [tmp_path / "a.fits"]


def test_one_that_does_not_run_has_nothing_open(tmp_path: Path, sensor: FolderSensor) -> None:
    before = open_instances(), threading.active_count()
    for _ in range(3):
        FolderSensor(tmp_path, Places(folders=(tmp_path,)), registrar=FakeRegistrar()).turn()
    assert (open_instances(), threading.active_count()) == before


@pytest.mark.usefixtures("_turns_at_once")
def test_what_goes_wrong_before_a_listing_does_not_end_them(
    tmp_path: Path,
    sensor: FolderSensor,
    registrar: FakeRegistrar,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(folder: Path) -> bool:
        raise ZeroDivisionError("a bug")

    frame = tmp_path / "a.fits"
    frame.write_bytes(b"end")
    with monkeypatch.context() as wrong:
        wrong.setattr(places_module, "is_silent", fail)
        with pytest.raises(ZeroDivisionError):
            sensor.turn()
    assert not sensor.listed
    for _ in range(2):
        clock.now += 1
        sensor.turn()
    assert sensor.listed
    assert registrar.registered == [frame]


@pytest.mark.usefixtures("_turns_at_once")
def test_a_listing_that_fails_is_none_and_is_begun_anew(
    tmp_path: Path,
    sensor: FolderSensor,
    registrar: FakeRegistrar,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(folder: Path, **_: object) -> Iterator[tuple[str, list[str], list[str]]]:
        yield str(folder), [], []
        raise ZeroDivisionError("a bug")

    frame = tmp_path / "a.fits"
    frame.write_bytes(b"end")
    with monkeypatch.context() as wrong:
        wrong.setattr(os, "walk", fail)
        with pytest.raises(ZeroDivisionError):
            sensor.turn()
    clock.now += 1
    sensor.turn()
    assert not sensor.listed
    for _ in range(2):
        clock.now += 31
        sensor.turn()
    assert sensor.listed
    assert registrar.registered == [frame]


@pytest.mark.parametrize("step", ["registered", "judged"])
@pytest.mark.usefixtures("_turns_at_once")
def test_a_frame_that_comes_now_waits_for_no_backlog(
    tmp_path: Path, registrar: FakeRegistrar, clock: Clock, step: str
) -> None:
    """As 500 frames that were copied at once, with half a second for each."""
    register = registrar.register

    def completeness(path: Path) -> Completeness:
        clock.now += 0.5 if step == "judged" else 0.0
        return Completeness.COMPLETE

    def slow(path: Path) -> None:
        clock.now += 0.5 if step == "registered" else 0.0
        register(path)

    registrar.register = slow  # type: ignore[method-assign]
    sensor = FolderSensor(
        tmp_path, Places(folders=(tmp_path,)), registrar=registrar, completeness=completeness, clock=clock
    )
    old = [tmp_path / f"{number:03}.fits" for number in range(50)]
    for path in old:
        path.write_bytes(b"end")
    sensor.turn()
    clock.now += 0.3
    sensor.turn()
    frame = tmp_path / "now.fits"
    frame.write_bytes(b"end")
    sensor._watcher.hints.put(Hint(path=frame, root=tmp_path, closed=True))
    sensor.turn()
    assert frame in registrar.registered
    assert len(registrar.registered) < 5
    for _ in range(150):
        sensor.turn()
    assert sorted(registrar.registered) == [*old, frame]


@pytest.mark.usefixtures("_turns_at_once")
def test_a_file_that_could_not_be_read_for_a_while_is_counted_as_it_is_registered(
    tmp_path: Path, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock
) -> None:
    refused, other, landing = tmp_path / "a.fits", tmp_path / "b.fits", tmp_path / "c.fits"
    register, waiting = registrar.register, []

    def count(path: Path) -> None:
        register(path)
        waiting.append(sensor.waiting)

    registrar.register = count  # type: ignore[method-assign]
    refused.write_bytes(b"end")
    registrar.faults[refused] = PermissionError("no rights")
    for _ in range(20):
        clock.now += 1
        sensor.turn()
    assert (sensor.waiting, list(sensor.unreadable)) == (0, [refused])
    registrar.faults.clear()
    for path in (other, landing):
        path.write_bytes(b"end")
        sensor._watcher.hints.put(Hint(path=path, root=tmp_path, closed=True))
    clock.now += 60
    sensor.turn()
    assert sorted(registrar.registered) == [refused, other, landing]
    assert (min(waiting), sensor.waiting) == (1, 0), "each is in its row before it lands no more"


@pytest.mark.usefixtures("_turns_at_once")
def test_a_disk_that_cannot_be_read_for_a_moment_says_nothing_of_the_file(
    tmp_path: Path, registrar: FakeRegistrar, clock: Clock
) -> None:
    """A file that is cut has its ten seconds, and not the one of those whose length nobody knows."""
    answers: list[Completeness | None] = [None]

    def completeness(path: Path) -> Completeness:
        if answers[0] is None:
            raise RetryLater(f"{path}: cannot be read: Input/output error") from OSError(
                errno.EIO, "I/O error"
            )
        return answers[0]

    sensor = FolderSensor(
        tmp_path, Places(folders=(tmp_path,)), registrar=registrar, completeness=completeness, clock=clock
    )
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"beginning")
    for _ in range(3):
        sensor.turn()
        clock.now += 0.3
    answers[0] = Completeness.INCOMPLETE
    for _ in range(5):
        clock.now += 1
        sensor.turn()
    assert registrar.registered == []
    assert (sensor.waiting, sensor.unreadable) == (1, {})
    answers[0] = None
    frame.write_bytes(b"beginning, and more")
    for _ in range(30):
        clock.now += 1
        sensor.turn()
    assert sensor.unreadable == {frame: f"{frame}: cannot be read: Input/output error"}
    assert sensor.waiting == 0
    answers[0] = Completeness.COMPLETE
    clock.now += 60
    sensor.turn()
    assert registrar.registered == [frame]
    assert sensor.unreadable == {}


def test_a_file_whose_name_looks_like_an_escape_is_judged_by_its_headers(
    tmp_path: Path, registrar: FakeRegistrar, clock: Clock
) -> None:
    frame = tmp_path / r"K\udcf6ln.fits"
    PrimaryHDU(np.zeros((4, 4), np.int16)).writeto(frame)
    sensor = FolderSensor(tmp_path, Places(folders=(tmp_path,)), registrar=registrar, clock=clock)
    sensor._watcher.hints.put(Hint(path=frame, root=tmp_path, closed=True))
    sensor.turn()
    assert registrar.registered == [frame], "whole, and closed"


@pytest.mark.usefixtures("_turns_at_once")
def test_a_handful_that_came_together_is_taken_in_order(
    sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock, tmp_path: Path
) -> None:
    """As a telescope's calibrations and its first light, which needs them."""
    files = [tmp_path / f"{number:03}.fits" for number in range(8)]
    for path in files:
        path.write_bytes(b"end")
    for _ in range(4):
        sensor.turn()
        clock.now += 1.0
    assert registrar.registered == files


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that the system is asked for."""
    found: list[Path] = []

    def noted(path: Path) -> os.stat_result | None:
        found.append(path)
        return regular_status(path)

    for module in (folder_module, sweep_module):
        monkeypatch.setattr(module, "regular_status", noted)
    return found


@pytest.mark.usefixtures("_turns_at_once")
def test_a_listing_looks_once_at_what_is_as_it_was(
    tmp_path: Path, sensor: FolderSensor, clock: Clock, looked_at: list[Path]
) -> None:
    files = [tmp_path / f"{number}.fits" for number in range(9)]
    for path in files:
        path.write_bytes(b"end")
    for _ in range(3):
        sensor.turn()
        clock.now += 1
    looked_at.clear()
    clock.now += 31
    sensor.turn()
    assert sorted(looked_at) == files


class TestABacklog:
    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        files = [tmp_path / f"{number:03}.fits" for number in range(50)]
        for path in files:
            path.write_bytes(b"end")
        return files

    @pytest.fixture
    def sensor(self, tmp_path: Path, registrar: FakeRegistrar, clock: Clock) -> FolderSensor:
        """Half a second to judge a file, and as long to register it: a turn has time for one."""
        register = registrar.register

        def slow(path: Path) -> None:
            clock.now += 0.5
            register(path)

        def completeness(path: Path) -> Completeness:
            clock.now += 0.5
            return Completeness.COMPLETE

        registrar.register = slow  # type: ignore[method-assign]
        places = Places(folders=(tmp_path,), sweep_seconds=1e6)
        return FolderSensor(tmp_path, places, registrar=registrar, completeness=completeness, clock=clock)

    @pytest.mark.usefixtures("_turns_at_once")
    def test_each_file_is_looked_at_a_few_times_only(
        self,
        sensor: FolderSensor,
        registrar: FakeRegistrar,
        clock: Clock,
        files: list[Path],
        looked_at: list[Path],
    ) -> None:
        for _ in range(60):
            sensor.turn()
            clock.now += 0.3
        assert sorted(registrar.registered) == files
        assert len(looked_at) <= 6 * len(files)

    @pytest.mark.usefixtures("_turns_at_once")
    def test_what_changes_or_goes_while_it_waits_is_seen_as_its_turn_comes(
        self, sensor: FolderSensor, registrar: FakeRegistrar, clock: Clock, files: list[Path]
    ) -> None:
        for _ in range(3):
            sensor.turn()
            clock.now += 0.3
        changed, gone = [path for path in files if path not in registrar.registered][20:22]
        changed.write_bytes(b"more, and the end")
        gone.unlink()
        for _ in range(80):
            sensor.turn()
            clock.now += 0.3
        assert sorted(registrar.registered) == [path for path in files if path != gone]
        assert sensor.waiting == 0


@pytest.mark.usefixtures("_turns_at_once")
def test_a_file_that_changed_since_it_was_judged_is_not_registered(
    tmp_path: Path, registrar: FakeRegistrar, clock: Clock
) -> None:
    frame = tmp_path / "a.fits"
    frame.write_bytes(b"end")
    judged: list[int] = []

    def completeness(path: Path) -> Completeness:
        judged.append(path.stat().st_size)
        if len(judged) == 1:
            path.write_bytes(b"end, and the beginning of more")
            return Completeness.COMPLETE
        return Completeness.INCOMPLETE

    sensor = FolderSensor(
        tmp_path, Places(folders=(tmp_path,)), registrar=registrar, completeness=completeness, clock=clock
    )
    for _ in range(10):
        sensor.turn()
        clock.now += 0.3
    assert registrar.registered == []
    assert (len(judged), sensor.waiting) == (2, 1)


@pytest.mark.parametrize(("seconds", "warnings"), [(1.0, 1), (0.05, 0)])
@pytest.mark.usefixtures("_turns_at_once")
def test_that_a_folder_takes_long_to_list_is_said_once(
    tmp_path: Path,
    registrar: FakeRegistrar,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seconds: float,
    warnings: int,
) -> None:
    def slow_walk(folder: Path, **_: object) -> Iterator[tuple[str, list[str], list[str]]]:
        clock.now += seconds
        yield str(folder), [], []

    monkeypatch.setattr(os, "walk", slow_walk)
    places = Places(folders=(tmp_path,), sweep_seconds=1000.0, polling="always", poll_seconds=2.0)
    sensor = FolderSensor(tmp_path, places, registrar=registrar, clock=clock)
    with caplog.at_level(logging.WARNING):
        while clock.now < 100:
            sensor.turn()
            clock.now += 0.25
    said = [record.message for record in caplog.records]
    assert len(said) == warnings
    assert all(
        f"{tmp_path}: to list it takes 1.0 s, so it is listed every 11 s, not every 2 s" in one
        for one in said
    )
    assert all("name only the folder of the current night" in one for one in said)
