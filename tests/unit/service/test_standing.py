"""What `nightflow status` says of a service, dead or alive."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.config import Settings, load_settings
from nightflow.service import background
from nightflow.service.heartbeat import beat, heartbeat_file, last_beat
from nightflow.service.instance_lock import lock_holder, only_instance
from nightflow.service.leases import service_tag
from nightflow.service.live import watch
from nightflow.service.live_service import LiveService
from nightflow.service.standing import look_around
from nightflow.service.watching import duration, watching_of
from nightflow.store.database import Database
from nightflow.store.leases import lease
from nightflow.store.ledger import receive, requeue, settle_exposure
from nightflow.store.models import Priority, State
from tests.unit.store.conftest import *  # noqa: F403  (a Postgres)

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "incoming").mkdir()
    return Settings(root=tmp_path, watch={"settle_seconds": 0.1}, prefect={"enabled": False})  # type: ignore[arg-type]


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Database]:
    with Database(settings.store_url) as ledger:
        ledger.upgrade()
        yield ledger


def lines(settings: Settings, ledger: Database) -> str:
    return "\n".join(look_around(settings, ledger, NOW).lines())


def test_a_new_telescope(settings: Settings, ledger: Database) -> None:
    said = lines(settings, ledger)
    assert "watch:       NOT RUNNING: start it" in said
    assert "last frame:  none yet" in said
    assert "GB free for products" in said


def test_a_disk_without_room_for_products(
    settings: Settings, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4 * 2**30))
    assert "LITTLE ROOM: below notify.room_gib = 5 no products are written" in lines(settings, ledger)
    assert look_around(settings, ledger, NOW).as_json()["products_written"] is False


def test_a_file_in_the_place_of_the_products_folder(settings: Settings, ledger: Database) -> None:
    settings.resolve(settings.paths.products).write_text("")
    said = lines(settings, ledger)
    assert f"NO PRODUCTS are written: {settings.root / 'products'} is a file; mend" in said
    assert "free for products" not in said
    assert look_around(settings, ledger, NOW).as_json()["products_written"] is False


def test_a_night_that_goes_on(settings: Settings, ledger: Database) -> None:
    old = receive(ledger, "/incoming/old.fits", "0" * 64, 2880, now=NOW - timedelta(minutes=4, seconds=10))
    bad = receive(ledger, "/incoming/bad.fits", "1" * 64, 2880, now=NOW - timedelta(minutes=2))
    receive(ledger, "/incoming/new.fits", "2" * 64, 2880, now=NOW - timedelta(seconds=12))
    settle_exposure(ledger, bad.exposure_id, State.FAILED, "a bug", now=NOW - timedelta(minutes=1))
    file = heartbeat_file(settings.file)
    unreadable = [f"/incoming/{number}.fits: cannot be read: Permission denied" for number in range(7)]
    beat(
        file,
        now=NOW - timedelta(seconds=3),
        in_work=1,
        landing=2,
        unreadable=unreadable,
        hanging={"/mnt/dome": 754.0},
    )
    with only_instance(ledger):
        said = lines(settings, ledger)
        standing = look_around(settings, ledger, NOW).as_json()
    assert "); 1 in work, 2 landing" in said
    assert "last frame:  new.fits, 12 seconds ago, received" in said
    assert "queue:       2; old.fits has waited for 4 minutes" in said
    assert "last error:  /incoming/bad.fits (failed, 1 minute ago): a bug" in said
    assert "unreadable:  /incoming/0.fits: cannot be read: Permission denied" in said
    assert "unreadable:  and 2 more" in said
    assert "hangs:       /mnt/dome has not answered for 12 minutes" in said
    assert standing["watch"]["hanging"] == {"/mnt/dome": 754.0}
    assert json.loads(json.dumps(standing))["watch"]["running"]
    assert standing["oldest_waiting_s"] == 250.0
    settle_exposure(ledger, old.exposure_id, State.DONE, "", now=NOW)


def test_a_service_that_hangs(settings: Settings, ledger: Database) -> None:
    """Whether it holds its lock still or not."""
    file = heartbeat_file(settings.file)
    beat(file, now=NOW - timedelta(hours=2), in_work=0, landing=0, unreadable=[], hanging={})
    assert "no sign of life for 2 hours" in lines(settings, ledger)
    with only_instance(ledger):
        assert "no sign of life for 2 hours" in lines(settings, ledger)
    file.write_text('{"process": 1}')
    assert last_beat(file) is None


def test_other_programs_can_ask_whether_it_is_alive(settings: Settings, ledger: Database) -> None:
    file = settings.root / "nightflow.toml"
    file.write_text("")

    def asked(*options: str) -> int:
        return CliRunner().invoke(app, ["status", "--config", str(file), *options]).exit_code

    assert (asked(), asked("--check"), asked("--check", "--format", "json")) == (0, 1, 1)
    with only_instance(ledger):
        sign = heartbeat_file(settings.file)
        beat(sign, now=datetime.now(UTC), in_work=0, landing=0, unreadable=[])
        assert asked("--check") == 0
        beat(sign, now=datetime.now(UTC) - timedelta(hours=2), in_work=0, landing=0, unreadable=[])
        assert asked("--check") == 1


def test_settings_of_two_telescopes_in_one_folder_have_signs_of_their_own(tmp_path: Path) -> None:
    files = [tmp_path / "north.toml", tmp_path / "south.toml"]
    for file in files:
        file.write_text(f'[store]\nurl = "sqlite:///{file.stem}.sqlite"\n')
    north, south = map(load_settings, files)
    beat(heartbeat_file(north.file), now=NOW, in_work=1, landing=0, folders=1)
    assert watching_of(north, "dome, process 7", NOW).sign is not None
    assert watching_of(south, "dome, process 8", NOW).sign is None
    for file in files:
        shown = CliRunner().invoke(app, ["status", "--config", str(file)])
        assert ("it hangs" in shown.output) is (file == north.file), "by its sign alone: there is no ledger"


@pytest.mark.parametrize(
    ("folders", "hanging", "sensor_alive", "alive"),
    [(2, 0, True, True), (2, 1, True, True), (2, 2, True, False), (2, 0, False, False), (0, 0, True, True)],
)
def test_a_service_that_takes_nothing_from_any_folder_is_not_alive(
    settings: Settings, ledger: Database, folders: int, hanging: int, sensor_alive: bool, alive: bool
) -> None:
    beat(
        heartbeat_file(settings.file),
        now=NOW,
        in_work=0,
        landing=0,
        hanging={f"/mnt/{number}": 200.0 for number in range(hanging)},
        folders=folders,
        sensor_alive=sensor_alive,
    )
    with only_instance(ledger):
        assert look_around(settings, ledger, NOW).is_alive is alive
        said = lines(settings, ledger)
        assert look_around(settings, ledger, NOW).as_json()["watch"]["sensor_alive"] is sensor_alive
    assert said.count("has not answered for 3 minutes") == hanging
    assert ("sensor:      NOT RUNNING, nothing is taken from any folder" in said) is not sensor_alive


@pytest.mark.parametrize(("missing", "hanging", "alive"), [(1, 0, True), (2, 0, False), (1, 1, False)])
def test_folders_that_cannot_be_listed_are_named(
    settings: Settings, ledger: Database, missing: int, hanging: int, alive: bool
) -> None:
    unlisted = {f"/mnt/{number}": "cannot be listed: No such file or directory" for number in range(missing)}
    beat(
        heartbeat_file(settings.file),
        now=NOW,
        in_work=0,
        landing=0,
        hanging={f"/net/{number}": 200.0 for number in range(hanging)},
        unlisted=unlisted,
        folders=2,
    )
    with only_instance(ledger):
        standing = look_around(settings, ledger, NOW)
        said = lines(settings, ledger)
    assert standing.is_alive is alive
    assert standing.as_json()["watch"]["unlisted"] == unlisted
    assert "folder:      /mnt/0: cannot be listed: No such file or directory; nothing is taken" in said


def test_a_service_tells_of_a_folder_that_is_not_there(
    settings: Settings, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "BEAT_SECONDS", 0.05)
    (settings.root / "incoming").rmdir()
    stop, said = threading.Event(), []

    def look() -> None:
        for _ in range(400):
            standing = look_around(settings, ledger)
            said[:] = [standing.is_alive, "\n".join(standing.lines())]
            if "folder:" in said[1]:
                break
            stop.wait(0.05)
        stop.set()

    threading.Timer(0.2, look).start()
    watch(settings, stop=stop)
    assert f"{settings.root / 'incoming'}: cannot be listed: No such file or directory" in said[1]
    assert said[0] is False


def test_settings_that_are_wrong_since_do_not_make_a_service_that_runs_ill(
    settings: Settings, ledger: Database
) -> None:
    """What looks after the health of a container would start it anew, which it then could not."""
    file = settings.root / "nightflow.toml"
    file.write_text("[watch]\nfolders = [")

    def asked(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["status", "--config", str(file), *options])
        return result.exit_code, result.output

    code, said = asked("--check")
    assert code == 1
    assert f"{file}: not valid TOML" in said
    assert "watch:" not in said, "no sign of life: as without a service"
    sign = heartbeat_file(settings.file)
    beat(sign, now=datetime.now(UTC), in_work=1, landing=0, folders=1)
    code, said = asked()
    assert code == 0
    assert "watch:       running (process" in said
    assert f"settings:    WRONG: {file}: not valid TOML" in said
    assert "the watcher goes on with what it has" in said
    assert (asked("--check")[0], asked("--check", "--format", "csv")[0]) == (0, 0)
    code, said = asked("--check", "--format", "json")
    assert code == 0
    assert "not valid TOML" in json.loads(said)["settings_error"]
    assert json.loads(said)["watch"]["in_work"] == 1
    file.write_text('[stoer]\nurl = ""')
    assert "WRONG" in asked("--check")[1]
    file.write_bytes(b"# Calar Alto, Almer\xeda")
    code, said = asked("--check")
    assert code == 0
    assert f"WRONG: {file}: cannot be read" in said
    beat(sign, now=datetime.now(UTC), in_work=0, landing=0, unlisted={"/mnt": "cannot be listed"}, folders=1)
    assert asked("--check")[0] == 1, "it takes nothing from any folder"
    beat(sign, now=datetime.now(UTC) - timedelta(hours=2), in_work=0, landing=0, folders=1)
    code, said = asked("--check")
    assert code == 1
    assert "no sign of life for 2 hours" in said
    assert "goes on" not in said


def test_how_long_a_frame_waits_is_since_it_was_queued(settings: Settings, ledger: Database) -> None:
    old = receive(ledger, "/incoming/old.fits", "0" * 64, 2880, now=NOW - timedelta(days=200))
    settle_exposure(ledger, old.exposure_id, State.DONE, "", now=NOW - timedelta(days=199))
    receive(ledger, "/incoming/new.fits", "1" * 64, 2880, now=NOW - timedelta(seconds=90))
    requeue(ledger, [old.exposure_id], priority=Priority.BACKFILL, now=NOW - timedelta(seconds=20))
    assert "queue:       2; new.fits has waited for 1 minute" in lines(settings, ledger)
    lease(ledger, "w", now=NOW, seconds=600)
    assert "queue:       2; old.fits has waited for 20 seconds" in lines(settings, ledger)
    assert look_around(settings, ledger, NOW).as_json()["oldest_waiting_s"] == 20.0
    lease(ledger, "w", now=NOW, seconds=600)
    assert "queue:       2; old.fits is in work" in lines(settings, ledger)
    assert look_around(settings, ledger, NOW).as_json()["oldest_waiting_s"] is None


def test_a_frame_whose_file_came_back_waits_since_then(settings: Settings, ledger: Database) -> None:
    frame = receive(ledger, "/incoming/a.fits", "0" * 64, 2880, now=NOW - timedelta(hours=3))
    settle_exposure(
        ledger,
        frame.exposure_id,
        State.HELD,
        "a disk is away",
        now=NOW - timedelta(hours=2),
        waits_for="outside",
    )
    receive(ledger, "/incoming/a.fits", "0" * 64, 2880, now=NOW - timedelta(seconds=30))
    assert "queue:       1; a.fits has waited for 30 seconds" in lines(settings, ledger)


def test_the_last_error_names_its_file_once(settings: Settings, ledger: Database) -> None:
    bad = receive(ledger, "/incoming/bad.fits", "0" * 64, 2880, now=NOW - timedelta(minutes=2))
    reason = "/incoming/bad.fits: truncated: 2880 of 5760 bytes"
    settle_exposure(ledger, bad.exposure_id, State.REJECTED, reason, now=NOW - timedelta(minutes=1))
    said = lines(settings, ledger)
    assert "last error:  /incoming/bad.fits (rejected, 1 minute ago): truncated: 2880 of 5760 bytes" in said
    assert said.count("/incoming/bad.fits") == 1
    assert look_around(settings, ledger, NOW).as_json()["last_error"]["reason"] == reason


def test_the_sign_of_a_service_that_was_killed_is_not_its_successors(
    settings: Settings, ledger: Database
) -> None:
    """In the seconds between its lock and its first sign it does not hang."""
    file = heartbeat_file(settings.file)
    killed = (
        "import sys, pathlib, datetime\n"
        "from nightflow.service.heartbeat import beat\n"
        "at = datetime.datetime.fromisoformat(sys.argv[2])\n"
        "beat(pathlib.Path(sys.argv[1]), now=at, in_work=0, landing=0)\n"
    )
    long_ago = (NOW - timedelta(hours=2)).isoformat()
    subprocess.run([sys.executable, "-c", killed, str(file), long_ago], check=True, timeout=60)
    assert "NOT RUNNING; its last sign was 2 hours ago, it died" in lines(settings, ledger)
    with only_instance(ledger):
        assert look_around(settings, ledger, NOW).is_alive
        assert "it hangs" not in lines(settings, ledger)


def test_a_service_begins_without_the_sign_of_the_one_before(
    settings: Settings, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be of another container, of which nobody can tell whether it is gone."""
    file, seen = heartbeat_file(settings.file), []
    beat(file, now=NOW - timedelta(hours=2), in_work=0, landing=0)
    run, stop = LiveService.run, threading.Event()

    async def look(self: LiveService) -> None:
        seen.append(last_beat(file))
        stop.set()
        await run(self)

    monkeypatch.setattr(LiveService, "run", look)
    watch(settings, stop=stop)
    assert seen == [None]


def test_looking_does_not_keep_a_service_from_starting(settings: Settings, ledger: Database) -> None:
    stop = threading.Event()

    seen: list[object] = []

    def look() -> None:
        while not stop.is_set():
            seen.append(lock_holder(ledger))

    with only_instance(ledger):
        pass
    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(50):
            with only_instance(ledger):
                pass
    finally:
        stop.set()
        looker.join()
    assert len(seen) > 1


def test_the_service_gives_signs_while_it_lives(
    settings: Settings, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "BEAT_SECONDS", 0.05)
    stop, seen = threading.Event(), []

    def look() -> None:
        standing = look_around(settings, ledger)
        seen.append((standing.watching.holder, standing.watching.sign))
        stop.set()

    threading.Timer(1.0, look).start()
    watch(settings, stop=stop)
    [(holder, sign)] = seen
    assert sign is not None
    assert holder == f"process {sign.process}"
    assert sign.ledger == service_tag(settings.store_url)
    assert last_beat(heartbeat_file(settings.file)) is None, "an orderly end leaves no sign of life"
    assert lock_holder(ledger) is None


def test_a_sign_that_is_written_while_the_service_ends_does_not_outlive_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, begun, may_go_on = tmp_path / "nightflow.watch.json", threading.Event(), threading.Event()

    def slow(*args: Any, **sign: Any) -> None:
        begun.set()
        may_go_on.wait(20)
        beat(*args, **sign)

    monkeypatch.setattr(background, "beat", slow)
    sensor = SimpleNamespace(waiting=0, unreadable={}, hanging={}, unlisted={}, folders=[], alive=True)

    async def live_and_end() -> None:
        life = asyncio.create_task(background.give_signs_of_life(file, cast("Any", sensor), lambda: 0, ""))
        await asyncio.to_thread(begun.wait, 20)
        life.cancel()
        threading.Timer(0.2, may_go_on.set).start()
        await asyncio.wait({life})

    asyncio.run(live_and_end())
    assert may_go_on.wait(20)
    time.sleep(0.5)
    assert not file.exists()


def test_who_holds_the_lock_on_postgres(empty_postgres: str) -> None:
    with Database(empty_postgres) as ledger:
        assert lock_holder(ledger) is None
        with only_instance(ledger):
            assert "of the database" in (lock_holder(ledger) or "")
        # The server frees what a session held a moment after its connection is closed.
        end = time.monotonic() + 30
        while lock_holder(ledger) is not None and time.monotonic() < end:
            time.sleep(0.05)
        assert lock_holder(ledger) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0 seconds"), (59, "59 seconds"), (60, "1 minute"), (7200, "2 hours"), (90000, "1 day")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
