"""From a finished file to its ledger row."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightflow.errors import RetryLater
from nightflow.sensor import enter as enter_module
from nightflow.sensor import register as register_module
from nightflow.sensor.register import LedgerRegistrar
from nightflow.store.database import Database
from nightflow.store.leases import lease
from nightflow.store.ledger import CONTENT, PLACE, settle_exposure
from nightflow.store.models import Exposure, State
from nightflow.store.overview import counts, get_exposure


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as database:
        database.upgrade()
        yield database


def registrar(database: Database, **arguments: object) -> LedgerRegistrar:
    return LedgerRegistrar(database, now=lambda: datetime.now(UTC), **arguments)  # type: ignore[arg-type]


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    path = tmp_path / "d1047.fits"
    path.write_bytes(b"content of a frame")
    return path


def test_a_row_holds_path_hash_and_size(database: Database, frame: Path) -> None:
    told: list[bool] = []
    registrar(database, on_received=lambda: told.append(True)).register(frame)
    exposure = get_exposure(database, 1)
    assert exposure is not None
    assert (exposure.path, exposure.size, exposure.state) == (str(frame), 18, State.RECEIVED)
    assert exposure.sha256 == hashlib.sha256(b"content of a frame").hexdigest()
    assert told == [True]


def test_the_same_file_again_changes_nothing_and_tells_nobody(database: Database, frame: Path) -> None:
    told: list[bool] = []
    twice = registrar(database, on_received=lambda: told.append(True))
    twice.register(frame)
    twice.register(frame)
    assert sum(counts(database).values()) == 1
    assert told == [True]


def test_a_copy_under_another_name_is_a_duplicate(database: Database, frame: Path) -> None:
    copy = frame.with_name("copy.fits")
    copy.write_bytes(frame.read_bytes())
    for path in (frame, copy):
        registrar(database).register(path)
    assert counts(database)[State.DUPLICATE] == 1


def test_a_file_that_was_renamed_is_no_duplicate(database: Database, frame: Path) -> None:
    """A writer that gives the file one name after the other: the row follows to where it lies."""
    registrar(database).register(frame)
    registrar(database).register(frame.rename(frame.with_name("final.fits")))
    exposure = get_exposure(database, 1)
    assert exposure is not None
    assert (exposure.path, exposure.state) == (str(frame.with_name("final.fits")), State.RECEIVED)
    assert sum(counts(database).values()) == 1


def test_a_file_that_came_back_is_taken_up_at_once(database: Database, frame: Path) -> None:
    registrar(database).register(frame)
    now = datetime.now(UTC)
    later = now + timedelta(minutes=5)
    settle_exposure(database, 1, State.HELD, "gone", now=now, waits_for="outside", retry_at=later)
    told: list[bool] = []
    registrar(database, on_received=lambda: told.append(True)).register(frame)
    assert told == [True]
    assert lease(database, "w", now=now, seconds=60) is not None


def test_what_waits_for_something_else_is_left_waiting(database: Database, frame: Path) -> None:
    registrar(database).register(frame)
    settle_exposure(database, 1, State.HELD, "no flat", now=datetime.now(UTC), waits_for="calibration")
    registrar(database).register(frame)
    assert counts(database)[State.HELD] == 1


def test_after_a_restart_unchanged_files_are_known(database: Database, frame: Path) -> None:
    assert not registrar(database).known(frame, frame.stat())
    registrar(database).register(frame)
    assert registrar(database).known(frame, frame.stat())


@pytest.mark.parametrize("hours", [-1.0, 0.0, 1.0], ids=["behind", "right", "ahead"])
def test_a_file_replaced_while_nobody_watched_is_not_known(
    database: Database, frame: Path, hours: float
) -> None:
    """Whatever the clock said when it was received: it may have been stepped, or be another machine's."""
    LedgerRegistrar(database, now=lambda: datetime.now(UTC) + timedelta(hours=hours)).register(frame)
    assert registrar(database).known(frame, frame.stat())
    time.sleep(0.02)  # the file system's clock has ticks
    frame.write_bytes(b"CONTENT OF A FRAME")
    assert not registrar(database).known(frame, frame.stat()), "same size, but changed after it was received"


@pytest.mark.parametrize(
    "touch",
    [lambda path: path.chmod(0o640), lambda path: os.utime(path), lambda path: os.utime(path, (4e9, 4e9))],
    ids=["its rights", "its date", "a date to come"],
)
def test_a_file_that_was_touched_is_read_once(
    database: Database, frame: Path, touch: Callable[[Path], None]
) -> None:
    registrar(database).register(frame)
    time.sleep(0.02)
    touch(frame)
    assert not registrar(database).known(frame, frame.stat())
    registrar(database).register(frame)
    assert registrar(database).known(frame, frame.stat())
    assert sum(counts(database).values()) == 1


def test_a_file_that_was_renamed_is_known(database: Database, frame: Path) -> None:
    registrar(database).register(frame)
    final = frame.rename(frame.with_name("final.fits"))
    registrar(database).register(final)
    assert registrar(database).known(final, final.stat())


def test_a_content_that_came_back_to_its_path_is_known(database: Database, frame: Path) -> None:
    kept = frame.with_name("kept")
    kept.write_bytes(frame.read_bytes())
    for content in (frame.read_bytes(), b"CONTENT OF A FRAME", kept.read_bytes()):
        frame.write_bytes(content)
        registrar(database).register(frame)
    assert registrar(database).known(frame, frame.stat())


def test_a_content_that_was_retired_is_not_known_where_it_comes_back_as_it_was(
    database: Database, frame: Path
) -> None:
    """As from a snapshot, or with another disk at the same place: it is to be reduced again."""
    registrar(database).register(frame)
    first = frame.stat()
    frame.write_bytes(b"content of a frame, corrected")
    registrar(database).register(frame)
    settle_exposure(database, 1, State.REJECTED, "replaced", now=datetime.now(UTC), waits_for=PLACE)
    assert registrar(database).known(frame, frame.stat())
    assert not registrar(database).known(frame, first)


def test_what_was_received_before_times_were_written_down_is_known_by_when_that_was(
    database: Database, frame: Path
) -> None:
    registrar(database).register(frame)
    with database.write() as session:
        exposure = session.get(Exposure, 1)
        assert exposure is not None
        exposure.mtime_ns = exposure.ctime_ns = None
    assert registrar(database).known(frame, frame.stat())
    time.sleep(0.02)
    frame.chmod(0o640)
    assert not registrar(database).known(frame, frame.stat())


def test_a_file_that_changes_while_it_is_read_is_not_entered(
    database: Database, frame: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hash_of_a_growing_file(path: Path) -> str:
        path.write_bytes(b"more than before, of a frame")
        return "0" * 64

    monkeypatch.setattr(register_module, "content_hash", hash_of_a_growing_file)
    with pytest.raises(RetryLater, match="changed while it was read"):
        registrar(database).register(frame)
    assert sum(counts(database).values()) == 0


def paths(database: Database, *exposures: int) -> list[str]:
    """Return the names of the files of these exposures."""
    found = [get_exposure(database, one) for one in exposures]
    return [Path(one.path).name for one in found if one is not None]


class TestFramesThatAreFirstCalledLatest:
    """A camera that writes each frame as latest.fits and files it under another name."""

    @pytest.fixture
    def latest(self, tmp_path: Path) -> Path:
        path = tmp_path / "latest.fits"
        path.write_bytes(b"first frame")
        return path

    def test_the_copy_becomes_the_file_when_the_next_frame_overwrites_the_first(
        self, database: Database, latest: Path
    ) -> None:
        camera = registrar(database)
        camera.register(latest)
        filed = latest.with_name("f0001.fits")
        filed.write_bytes(latest.read_bytes())
        camera.register(filed)
        assert paths(database, 1) == ["latest.fits"]
        latest.write_bytes(b"second frame")
        camera.register(latest)
        assert paths(database, 1, 3) == ["f0001.fits", "latest.fits"]
        assert counts(database)[State.RECEIVED] == 2

    def test_a_copy_that_comes_after_that_is_no_mere_duplicate(
        self, database: Database, latest: Path
    ) -> None:
        told: list[bool] = []
        camera = registrar(database, on_received=lambda: told.append(True))
        camera.register(latest)
        latest.rename(filed := latest.with_name("f0001.fits"))
        latest.write_bytes(b"second frame")
        camera.register(latest)
        settle_exposure(database, 1, State.REJECTED, "another one", waits_for=CONTENT, now=datetime.now(UTC))
        camera.register(filed)
        first = get_exposure(database, 1)
        assert first is not None
        assert (first.state, first.path) == (State.RECEIVED, str(filed))
        assert told == [True, True, True]

    def test_a_copy_that_was_known_takes_over_when_it_is_seen_again(
        self, database: Database, latest: Path
    ) -> None:
        camera = registrar(database)
        camera.register(latest)
        filed = latest.with_name("f0001.fits")
        filed.write_bytes(latest.read_bytes())
        camera.register(filed)
        latest.unlink()
        camera.register(filed)
        assert paths(database, 1, 2) == ["f0001.fits", "latest.fits"]
        assert counts(database)[State.DUPLICATE] == 1

    def test_a_copy_that_was_overwritten_too_is_not_taken_for_one(
        self, database: Database, latest: Path
    ) -> None:
        camera = registrar(database)
        camera.register(latest)
        second = latest.with_name("latest2.fits")
        second.write_bytes(latest.read_bytes())
        camera.register(second)
        second.write_bytes(b"preview")
        latest.write_bytes(b"second frame")
        camera.register(latest)
        assert paths(database, 1) == ["latest.fits"]

    @pytest.fixture
    def rejected(self, database: Database, latest: Path) -> Path:
        """The copy of a first frame that was rejected, for the second one was there when it was reduced."""
        registrar(database).register(latest)
        filed = latest.rename(latest.with_name("f0001.fits"))
        latest.write_bytes(b"second frame")
        registrar(database).register(latest)
        settle_exposure(database, 1, State.REJECTED, "another one", waits_for=CONTENT, now=datetime.now(UTC))
        return filed

    @pytest.mark.parametrize("ended", ["before", "after"])
    @pytest.mark.parametrize("step", ["copies_of_displaced", "original_of", "move", "receive"])
    def test_a_process_that_is_killed_as_the_copy_comes_loses_no_frame(
        self, database: Database, rejected: Path, monkeypatch: pytest.MonkeyPatch, step: str, ended: str
    ) -> None:
        done = getattr(enter_module, step)

        def killed(*arguments: object, **options: object) -> None:
            if ended == "after":
                done(*arguments, **options)
            raise KeyboardInterrupt

        with monkeypatch.context() as kill:
            kill.setattr(enter_module, step, killed)
            with pytest.raises(KeyboardInterrupt):
                registrar(database).register(rejected)
        again = registrar(database)
        if not again.known(rejected, rejected.stat()):
            again.register(rejected)
        first = get_exposure(database, 1)
        assert first is not None
        assert (first.state, first.path) == (State.RECEIVED, str(rejected))

    def test_a_copy_that_was_a_mere_duplicate_is_looked_at_again_after_a_restart(
        self, database: Database, latest: Path
    ) -> None:
        filed = latest.with_name("f0001.fits")
        filed.write_bytes(latest.read_bytes())
        for path in (latest, filed):
            registrar(database).register(path)
        assert registrar(database).known(filed, filed.stat())
        settle_exposure(database, 1, State.REJECTED, "another one", waits_for=CONTENT, now=datetime.now(UTC))
        assert not registrar(database).known(filed, filed.stat())

    def test_a_frame_that_is_rejected_while_its_file_is_looked_at_is_taken_up(
        self, database: Database, latest: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        an_hour_ago(database).register(latest)
        filed = latest.rename(latest.with_name("f0001.fits"))
        latest.write_bytes(b"other frame")

        def meanwhile(path: str) -> None:
            settle_exposure(database, 1, State.REJECTED, "gone", waits_for=CONTENT, now=datetime.now(UTC))

        monkeypatch.setattr(enter_module, "content_at", meanwhile)
        registrar(database).register(filed)
        first = get_exposure(database, 1)
        assert first is not None
        assert (first.state, first.path) == (State.RECEIVED, str(filed))

    def test_what_came_under_the_first_name_since_is_not_known_after_a_restart(
        self, database: Database, latest: Path
    ) -> None:
        """The copy of the one before was received after it had come, and has changed places."""
        an_hour_ago(database).register(latest)
        filed = latest.rename(latest.with_name("f0001.fits"))
        latest.write_bytes(b"other frame")
        registrar(database).register(filed)
        assert paths(database, 1) == ["f0001.fits"]
        assert not registrar(database).known(latest, latest.stat())

    def test_two_names_for_each_frame_and_no_third_take_no_more_reading_from_frame_to_frame(
        self, database: Database, latest: Path, read: list[str]
    ) -> None:
        web = latest.with_name("web.fits")
        counted = []
        for number in range(12):
            for path in (latest, web):
                path.write_bytes(b"frame %03d" % number)
                an_hour_ago(database).register(path)
            counted.append(len(read))
            read.clear()
        assert max(counted) <= 3
        assert counts(database)[State.RECEIVED] == 12


def an_hour_ago(database: Database) -> LedgerRegistrar:
    """Whatever it receives has changed since, as far as the system's times can tell."""
    return LedgerRegistrar(database, now=lambda: datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read to learn whether they hold what another one holds."""
    found: list[str] = []
    content_at = enter_module.content_at

    def noted(path: str) -> str | None:
        found.append(path)
        return content_at(path)

    monkeypatch.setattr(enter_module, "content_at", noted)
    return found


class TestTheOriginalOfADuplicate:
    @pytest.fixture
    def copy(self, frame: Path) -> Path:
        copy = frame.with_name("copy.fits")
        copy.write_bytes(frame.read_bytes())
        return copy

    def test_one_that_is_as_it_was_received_is_not_read(
        self, database: Database, frame: Path, copy: Path, read: list[str]
    ) -> None:
        for path in (frame, copy):
            registrar(database).register(path)
        assert counts(database)[State.DUPLICATE] == 1
        assert read == []

    def test_one_of_another_size_is_not_read_either(
        self, database: Database, frame: Path, copy: Path, read: list[str]
    ) -> None:
        registrar(database).register(frame)
        frame.write_bytes(b"content of another frame")
        registrar(database).register(copy)
        assert paths(database, 1) == ["copy.fits"]
        assert read == []

    @pytest.mark.parametrize(("holds", "path"), [(b"CONTENT OF A FRAME", "copy.fits"), (b"", "d1047.fits")])
    def test_one_that_has_changed_since_is(
        self, database: Database, frame: Path, copy: Path, read: list[str], holds: bytes, path: str
    ) -> None:
        an_hour_ago(database).register(frame)
        frame.write_bytes(holds or frame.read_bytes())
        registrar(database).register(copy)
        assert paths(database, 1) == [path]
        assert read == [str(frame)]


def test_a_file_that_is_put_back_is_taken_up_again(database: Database, frame: Path) -> None:
    told: list[bool] = []
    sensor = registrar(database, on_received=lambda: told.append(True))
    good = frame.read_bytes()
    sensor.register(frame)
    frame.write_bytes(b"written over by mistake")
    sensor.register(frame)
    settle_exposure(database, 1, State.REJECTED, "replaced by 2", waits_for=PLACE, now=datetime.now(UTC))
    copy = frame.with_name("copy.fits")
    copy.write_bytes(good)
    sensor.register(copy)
    assert counts(database)[State.REJECTED] == 1, "a copy of what was retired is only a copy"
    frame.write_bytes(good)
    sensor.register(frame)
    found = get_exposure(database, 1)
    assert found is not None
    assert (found.path, found.state) == (str(frame), State.RECEIVED)
    assert len(told) == 4


def test_what_was_retired_in_favour_of_its_first_place_comes_back_there(
    database: Database, frame: Path
) -> None:
    """Its row says where the copy lies that outlived it; it is there that it was replaced."""
    sensor = registrar(database)
    good, copy = frame.read_bytes(), frame.with_name("copy.fits")
    copy.write_bytes(good)
    sensor.register(frame)
    first = frame.stat()
    sensor.register(copy)
    frame.write_bytes(b"written over by mistake")
    sensor.register(frame)
    assert paths(database, 1) == ["copy.fits"]
    settle_exposure(database, 1, State.REJECTED, "replaced by 3", waits_for=PLACE, now=datetime.now(UTC))
    assert registrar(database).known(frame, frame.stat())
    assert not registrar(database).known(frame, first), "it may come back as it was while nobody watches"
    assert registrar(database).known(copy, copy.stat()), "a copy elsewhere need not be read again"
    sensor.register(copy)
    assert counts(database)[State.REJECTED] == 1
    frame.write_bytes(good)
    sensor.register(frame)
    found = get_exposure(database, 1)
    assert found is not None
    assert (found.path, found.state) == (str(frame), State.RECEIVED)


@pytest.mark.parametrize("name", [b"K\xf6ln_001.fits", rb"K\udcf6ln_001.fits"])
def test_a_name_that_is_not_utf8_is_known_and_followed_like_any_other(
    database: Database, tmp_path: Path, name: bytes
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"content of a frame")
    registrar(database).register(path)
    assert registrar(database).known(path, path.stat())
    registrar(database).register(path)
    renamed = path.rename(path.with_name(os.fsdecode(b"M\xfcnchen.fits")))
    registrar(database).register(renamed)
    assert sum(counts(database).values()) == 1
    assert paths(database, 1) == [r"M\udcfcnchen.fits"]
    registrar(database).register(renamed.rename(path))
    assert sum(counts(database).values()) == 1


def test_while_the_store_is_away_a_file_is_read_once(
    database: Database, frame: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    hashed = register_module.content_hash
    monkeypatch.setattr(register_module, "content_hash", lambda path: (read.append(path), hashed(path))[1])

    def away(*_: object, **__: object) -> None:
        raise RetryLater("the store is away")

    sensor = registrar(database)
    with monkeypatch.context() as outage:
        outage.setattr(register_module, "enter", away)
        for _ in range(3):
            with pytest.raises(RetryLater, match="the store is away"):
                sensor.register(frame)
        assert read == [frame]
        frame.write_bytes(b"CONTENT OF A FRAME")
        os.utime(frame, (1e9, 1e9))
        with pytest.raises(RetryLater, match="the store is away"):
            sensor.register(frame)
    assert read == [frame, frame]
    sensor.register(frame)
    assert read == [frame, frame]
    exposure = get_exposure(database, 1)
    assert exposure is not None
    assert exposure.sha256 == hashlib.sha256(b"CONTENT OF A FRAME").hexdigest()


def test_a_copy_is_found_though_the_store_was_away_as_its_original_was_overwritten(
    database: Database, frame: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = registrar(database)
    copy = frame.with_name("copy.fits")
    copy.write_bytes(frame.read_bytes())
    for path in (frame, copy):
        sensor.register(path)
    frame.write_bytes(b"second frame")

    def away(*_: object) -> None:
        raise RetryLater("the store is away")

    with monkeypatch.context() as outage:
        outage.setattr(enter_module, "copies_of_displaced", away)
        with pytest.raises(RetryLater, match="the store is away"):
            sensor.register(frame)
    sensor.register(frame)
    assert paths(database, 1, 3) == ["copy.fits", frame.name]


class TestAnotherDiskThatHangs:
    """The same content came from there; who lands here cannot wait for it."""

    @pytest.fixture
    def away(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A folder that answers nobody, from the first `hang` on."""
        self.hangs, self.answers = threading.Event(), threading.Event()
        self.asked: list[Path] = []
        folder = tmp_path / "away"
        folder.mkdir()
        exists = Path.exists

        def wait(path: Path) -> bool:
            if self.hangs.is_set() and path.parent == folder:
                self.asked.append(path)
                self.answers.wait()
            return exists(path)

        monkeypatch.setattr(Path, "exists", wait)
        monkeypatch.setattr(enter_module, "LOOK_SECONDS", 0.05)
        yield folder
        self.answers.set()

    def test_what_it_may_hold_is_a_duplicate_and_it_is_asked_once(
        self, database: Database, tmp_path: Path, away: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        sensor = registrar(database)
        here = []
        for number in range(3):
            content = b"frame %d" % number
            (away / f"{number}.fits").write_bytes(content)
            sensor.register(away / f"{number}.fits")
            here.append(tmp_path / f"{number}.fits")
            here[-1].write_bytes(content)
        self.hangs.set()
        registering = threading.Thread(target=lambda: [sensor.register(path) for path in here], daemon=True)
        registering.start()
        registering.join(20)
        assert not registering.is_alive()
        assert counts(database)[State.DUPLICATE] == 3
        assert self.asked == [away / "0.fits"]
        assert "0.fits: does not answer: is its disk or server away?" in caplog.text

    def test_what_is_known_to_be_lost_there_is_taken_up_though_it_does_not_answer(
        self, database: Database, tmp_path: Path, away: Path
    ) -> None:
        sensor = registrar(database)
        original, copy = away / "a.fits", tmp_path / "a.fits"
        for path in (original, copy):
            path.write_bytes(b"a frame")
        sensor.register(original)
        settle_exposure(database, 1, State.REJECTED, "another one", waits_for=CONTENT, now=datetime.now(UTC))
        self.hangs.set()
        sensor.register(copy)
        first = get_exposure(database, 1)
        assert first is not None
        assert (first.state, first.path) == (State.RECEIVED, str(copy))
        assert self.asked == []

    def test_when_it_answers_again_it_is_believed(
        self, database: Database, tmp_path: Path, away: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        sensor = registrar(database)
        original, copy = away / "a.fits", tmp_path / "a.fits"
        for path in (original, copy):
            path.write_bytes(b"a frame")
        sensor.register(original)
        self.hangs.set()
        sensor.register(copy)
        assert paths(database, 1, 2) == ["a.fits", "a.fits"]
        original.unlink()
        self.hangs.clear()
        self.answers.set()
        deadline = time.monotonic() + 20
        while (first := get_exposure(database, 1)) is None or first.path != str(copy):
            assert time.monotonic() < deadline
            sensor.register(copy)
        assert counts(database)[State.RECEIVED] == 1
