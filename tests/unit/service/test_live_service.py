"""The live service on a real ledger, with a reducer and a server of straw."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightflow.config import Settings
from nightflow.errors import ConfigurationError, NightflowError, RetryLater
from nightflow.pipeline.outcome import Outcome
from nightflow.service import background, exposure_work, live_service
from nightflow.service.instance_lock import InstanceTaken
from nightflow.service.leases import worker_name
from nightflow.service.live_service import LiveService
from nightflow.service.messages import BegunRun, Ended, RunFault
from nightflow.service.outage import Outage
from nightflow.service.process import run_in_thread
from nightflow.service.worker import Reduced, WorkerDied
from nightflow.store.database import Database
from nightflow.store.deaths import count_service_death
from nightflow.store.frames import frames_of, record_frames, settle_frame
from nightflow.store.leases import lease, lease_exposure, release
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import Exposure, Priority, State
from nightflow.store.overview import counts, get_exposure
from tests.unit.store.builders import header

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "incoming").mkdir()
    watch = {"settle_seconds": 0.1, "lease_seconds": 300.0, "sweep_seconds": 600.0}
    return Settings(root=tmp_path, watch=watch)  # type: ignore[arg-type]


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with Database(settings.store_url) as database:
        database.upgrade()
        yield database


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_service, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(live_service, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(live_service, "Outage", partial(Outage, first_seconds=0.01))


class Straw:
    """Reduces by settling; a run of the server does it too, if the server is there."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.direct: list[int] = []
        self.as_runs: list[int] = []
        self.remembered: list[int] = []
        self.used: list[Any] = []
        self.ended: list[tuple[str, RunFault | None]] = []
        self.workers: list[StrawWorker] = []
        self.here = True
        self.dies_in_the_run = False
        self.work: Callable[[int], None] = lambda exposure_id: None

    def new_worker(self, settings: Settings) -> StrawWorker:
        self.workers.append(StrawWorker(self, settings))
        return self.workers[-1]

    def settle(self, exposure_id: int) -> None:
        self.work(exposure_id)
        settle_exposure(self.database, exposure_id, State.DONE, "", now=NOW)

    def reduce_directly(self, exposure_id: int) -> Outcome:
        self.settle(exposure_id)
        self.direct.append(exposure_id)
        return Outcome(exposure_id=exposure_id, path="", state="done", reason="", seconds=0.0)

    async def execute(self, exposure_id: int) -> None:
        if not self.dies_in_the_run:
            await asyncio.to_thread(self.settle, exposure_id)
        self.as_runs.append(exposure_id)

    async def connect(self) -> bool:
        return self.here

    async def keep_connected(self) -> None:
        await asyncio.sleep(3600)

    async def begin(self, exposure: Exposure) -> BegunRun | None:
        return BegunRun(id=f"run-{exposure.id}", content="") if self.here else None

    async def end(self, run: BegunRun, fault: RunFault | None = None) -> None:
        self.ended.append((run.id, fault))

    def use(self, reducer: Any) -> None:
        self.used.append(reducer)

    async def remember(self, exposure_id: int) -> None:
        self.remembered.append(exposure_id)


class StrawWorker:
    """Does in this process what a worker does in its own; dies when told to."""

    def __init__(self, straw: Straw, settings: Settings) -> None:
        self.straw = straw
        self.settings = settings
        self.alive = False
        self.outgrown = False
        self.deaths: list[WorkerDied] = []
        self.rest: asyncio.Future[Ended] | None = None
        self.left_because = ""

    async def start(self) -> None:
        self.alive = True

    async def reduce(self, exposure_id: int, path: str, run: BegunRun | None) -> Reduced:
        if self.deaths:
            self.alive = False
            raise self.deaths.pop()
        ended = Ended(task=1)
        try:
            if run is not None:
                await self.straw.execute(exposure_id)
            if await asyncio.to_thread(self.has, exposure_id):
                direct = await asyncio.to_thread(self.straw.reduce_directly, exposure_id)
                ended = Ended(task=1, direct=direct)
        except NightflowError as error:
            ended = Ended(task=1, error=str(error), store=True)
        except Exception as error:  # noqa: BLE001
            ended = Ended(task=1, error=str(error))
        rest = self.rest or asyncio.get_running_loop().create_future()
        if self.rest is None:
            rest.set_result(ended)
        outcome = Outcome(exposure_id=exposure_id, path=path, state="done", reason="", seconds=0.0)
        return Reduced(None if ended.error else outcome, rest)

    def has(self, exposure_id: int) -> bool:
        exposure = get_exposure(self.straw.database, exposure_id)
        return exposure is not None and exposure.leased_by == worker_name()

    async def leave(self, seconds: float, why: str) -> None:
        self.alive, self.left_because = False, why


@pytest.fixture
def straw(database: Database) -> Straw:
    return Straw(database)


def serve(
    settings: Settings, straw: Straw, *, runs: bool = True, stop: threading.Event | None = None,
    until_idle: float | None = 0.3, reducer: Any = None,
) -> None:  # fmt: skip
    async def main() -> None:
        await LiveService(
            settings, database=straw.database, reducer=reducer, workers=straw.new_worker,
            runs=straw if runs else None, stop=stop or threading.Event(), until_idle=until_idle,
        ).run()  # fmt: skip

    asyncio.run(main())


def test_it_is_not_idle_before_the_first_listing_has_ended(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year of nights on a slow disk takes longer to list than one waits for work."""
    walk = os.walk

    def slow_walk(top: Path, *arguments: Any, **options: Any) -> Iterator[Any]:
        time.sleep(1.5)
        yield from walk(top, *arguments, **options)

    monkeypatch.setattr(os, "walk", slow_walk)
    (settings.root / "incoming/a.fits").write_bytes(b"no FITS file")
    serve(settings, straw, runs=False, until_idle=0.1)
    assert counts(straw.database)[State.DONE] == 1


def test_house_is_kept_whatever_goes_wrong_there(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "HOUSEKEEPING_SECONDS", 0.01)
    faults = iter([RetryLater("locked"), ZeroDivisionError("a bug")])
    stop = threading.Event()

    def housekeeping(now: datetime) -> None:
        fault = next(faults, None)
        if fault is None:
            stop.set()
            return
        raise fault

    service = LiveService(
        settings, database=straw.database, reducer=None, workers=straw.new_worker, runs=None, stop=stop,
        until_idle=60, housekeeping=[lambda reducer: [housekeeping]],
    )  # fmt: skip
    asyncio.run(service.run())
    assert stop.is_set()
    assert "housekeeping put off: locked" in caplog.text
    assert "housekeeping failed; it is tried again" in caplog.text


def test_what_goes_wrong_or_hangs_keeps_back_nothing_else(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the raw frames may be away, and just that is to be told."""
    monkeypatch.setattr(background, "HOUSEKEEPING_SECONDS", 0.01)
    stop, over = threading.Event(), threading.Event()
    done: list[str] = []

    def fails(now: datetime) -> None:
        done.append("fails")
        raise RetryLater("no room for masters")

    def hangs(now: datetime) -> None:
        done.append("hangs")
        over.wait(60)

    def tell(now: datetime) -> None:
        if done.count("told") > 2 and "hangs" in done:
            stop.set()
        done.append("told")

    service = LiveService(
        settings, database=straw.database, reducer=None, workers=straw.new_worker, runs=None, stop=stop,
        until_idle=30, housekeeping=[lambda reducer: [fails, hangs], lambda reducer: [tell]],
    )  # fmt: skip
    asyncio.run(service.run())
    over.set()
    assert stop.is_set()
    assert (done.count("fails"), done.count("hangs")) == (1, 1)


def test_what_a_fault_has_ended_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.0)
    faults = iter([RuntimeError("dictionary changed size during iteration"), ZeroDivisionError("a bug")])

    async def begin() -> None:
        if (fault := next(faults, None)) is not None:
            raise fault

    asyncio.run(background.lasting("signs of life", begin))
    assert caplog.text.count("signs of life: begun again after a fault") == 2


def test_house_is_kept_where_new_settings_cannot_be_used_for_it_at_once(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "HOUSEKEEPING_SECONDS", 0.01)
    reload = Reloading(settings)
    reload.asked.set()
    stop = threading.Event()
    faults = iter([ConfigurationError("no such camera"), ZeroDivisionError("a bug")])

    def housekeeping(reducer: Any) -> list[Callable[[datetime], object]]:
        if reducer != "another reducer":
            return [lambda now: None]
        fault = next(faults, None)
        if fault is not None:
            raise fault
        return [lambda now: stop.set()]

    service = LiveService(
        settings, database=straw.database, reducer="the first one", workers=straw.new_worker, runs=None,
        stop=stop, until_idle=20, housekeeping=[housekeeping], reload=reload,
    )  # fmt: skip
    asyncio.run(service.run())
    assert stop.is_set()
    assert "housekeeping put off: no such camera" in caplog.text
    assert "housekeeping failed; it is tried again" in caplog.text
    assert next(faults, None) is None


def test_a_stop_does_not_wait_for_housekeeping(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may build masters for minutes, or wait for a server that is told something."""
    monkeypatch.setattr(background, "HOUSEKEEPING_SECONDS", 0.01)
    stop, over = threading.Event(), threading.Event()

    def housekeeping(now: datetime) -> None:
        stop.set()
        over.wait(60)

    service = LiveService(
        settings, database=straw.database, reducer=None, workers=straw.new_worker, runs=None, stop=stop,
        housekeeping=[lambda reducer: [housekeeping]],
    )  # fmt: skip
    began = time.monotonic()
    run_in_thread(service.run)
    took = time.monotonic() - began
    over.set()
    assert took < 10


def enqueue(database: Database, number: int, now: datetime | None = None) -> list[int]:
    now = now or datetime.now(UTC)
    return [
        receive(database, f"/elsewhere/{i}.fits", f"{i:064d}", 2880, now=now).exposure_id
        for i in range(number)
    ]


def test_the_queue_is_worked_off_as_runs(settings: Settings, straw: Straw) -> None:
    ids = enqueue(straw.database, 4)
    serve(settings, straw)
    assert straw.as_runs == ids
    assert straw.direct == []
    assert counts(straw.database)[State.DONE] == 4
    exposure = get_exposure(straw.database, ids[0])
    assert exposure is not None
    assert exposure.prefect_run_id == f"run-{ids[0]}"


def test_a_file_that_lands_is_reduced(settings: Settings, straw: Straw, tmp_path: Path) -> None:
    (tmp_path / "incoming/garbage.fits").write_bytes(b"no FITS file")
    serve(settings, straw, until_idle=1.0)
    assert counts(straw.database)[State.DONE] == 1


def test_without_a_server_the_same_is_done_and_remembered(settings: Settings, straw: Straw) -> None:
    straw.here = False
    ids = enqueue(straw.database, 2)
    serve(settings, straw)
    assert straw.direct == straw.remembered == ids


def test_late_frames_go_without_a_run_and_are_remembered(settings: Settings, straw: Straw) -> None:
    """But for the first ones, which say that it is so; what is done again may wait, and is shown."""
    ids = enqueue(straw.database, 6, datetime.now(UTC) - timedelta(hours=1))
    with straw.database.write() as session:
        redone = session.get_one(Exposure, ids[-1])
        redone.priority = Priority.REDO
    serve(settings, straw)
    assert straw.as_runs == [*ids[:2], ids[-1]]
    assert straw.direct == straw.remembered == ids[2:-1]


def test_a_note_that_the_ledger_cannot_take_costs_no_frame(
    settings: Settings, straw: Straw, caplog: pytest.LogCaptureFixture
) -> None:
    async def locked(exposure_id: int) -> None:
        raise RetryLater("locked")

    straw.here, straw.remember = False, locked  # type: ignore[method-assign]
    ids = enqueue(straw.database, 2)
    serve(settings, straw)
    assert straw.direct == ids
    assert "the ledger does not know which run shows it: locked" in caplog.text


def test_without_prefect_at_all(settings: Settings, straw: Straw) -> None:
    ids = enqueue(straw.database, 2)
    serve(settings, straw, runs=False)
    assert straw.direct == ids
    assert straw.remembered == []


def test_a_server_that_dies_before_the_flow_begins_costs_no_frame(settings: Settings, straw: Straw) -> None:
    straw.dies_in_the_run = True
    ids = enqueue(straw.database, 2)
    serve(settings, straw)
    assert straw.direct == straw.remembered == ids
    assert counts(straw.database)[State.DONE] == 2


def test_a_fault_of_what_shows_runs_costs_no_frame(
    settings: Settings, straw: Straw, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(exposure: Exposure) -> BegunRun | None:
        raise KeyError("no such deployment")

    straw.begin = broken  # type: ignore[method-assign]
    ids = enqueue(straw.database, 2)
    serve(settings, straw)
    assert straw.direct == ids
    assert "not shown as a run" in caplog.text


def test_a_fault_of_one_exposure_leaves_the_others(
    settings: Settings, straw: Straw, caplog: pytest.LogCaptureFixture
) -> None:
    ids = enqueue(straw.database, 3)

    def work(exposure_id: int) -> None:
        if exposure_id == ids[0]:
            raise RuntimeError("the ledger could not be written")

    straw.work = work
    stop = threading.Event()
    threading.Timer(1.5, stop.set).start()
    serve(settings, straw, stop=stop, until_idle=None)
    assert counts(straw.database)[State.DONE] == 2
    assert counts(straw.database)[State.REDUCING] == 1, "taken up again when its lease ends"
    assert "could not be written" in caplog.text


def test_workers_work_at_the_same_time(settings: Settings, straw: Straw) -> None:
    settings = settings.model_copy(update={"watch": settings.watch.model_copy(update={"workers": 2})})
    together = threading.Barrier(2, timeout=5)
    straw.work = lambda exposure_id: together.wait() and None
    enqueue(straw.database, 2)
    serve(settings, straw)
    assert counts(straw.database)[State.DONE] == 2


def test_a_long_reduction_keeps_its_lease(settings: Settings, straw: Straw) -> None:
    short = settings.watch.model_copy(update={"lease_seconds": 0.4, "workers": 2})
    worked: list[int] = []

    def work(exposure_id: int) -> None:
        worked.append(exposure_id)
        time.sleep(1.2)

    straw.work = work
    ids = enqueue(straw.database, 1)
    serve(settings.model_copy(update={"watch": short}), straw)
    assert worked == ids, "the other worker took it although its lease was renewed"


def test_what_is_in_work_is_not_taken_again_when_its_lease_has_ended(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a step of the clock; the second worker bears the same name."""
    two = settings.watch.model_copy(update={"workers": 2})
    worked: list[int] = []

    def work(exposure_id: int) -> None:
        worked.append(exposure_id)
        monkeypatch.setattr(live_service, "_now", lambda: datetime.now(UTC) + timedelta(hours=1))
        time.sleep(0.6)

    straw.work = work
    ids = enqueue(straw.database, 1)
    serve(settings.model_copy(update={"watch": two}), straw)
    assert worked == ids


def test_a_suspect_is_reduced_alone(settings: Settings, straw: Straw) -> None:
    """After five deaths: what is reduced beside it would only die with it."""
    two = settings.watch.model_copy(update={"workers": 2})
    ids = enqueue(straw.database, 4)
    for _ in range(5):
        assert lease_exposure(straw.database, ids[0], "watch:dome:1", now=NOW, seconds=1) is not None
        count_service_death(straw.database, ids[0], "watch:dome:1", NOW)
    in_work: set[int] = set()
    beside: dict[int, set[int]] = {}

    def work(exposure_id: int) -> None:
        in_work.add(exposure_id)
        time.sleep(0.3)
        for other in list(in_work):
            beside.setdefault(other, set()).update(in_work - {other})
        in_work.discard(exposure_id)

    straw.work = work
    serve(settings.model_copy(update={"watch": two}), straw)
    assert beside[ids[0]] == set()
    assert beside[ids[1]] == {ids[2]}
    assert counts(straw.database)[State.DONE] == 4


def test_a_lost_lease_is_said(settings: Settings, straw: Straw, caplog: pytest.LogCaptureFixture) -> None:
    short = settings.watch.model_copy(update={"lease_seconds": 0.3})
    stop = threading.Event()

    def work(exposure_id: int) -> None:
        release(straw.database, exposure_id)
        lease_exposure(straw.database, exposure_id, "run:dome:1", now=datetime.now(UTC), seconds=600)
        for _ in range(200):
            if "lease lost" in caplog.text:
                break
            time.sleep(0.05)
        stop.set()

    straw.work = work
    enqueue(straw.database, 1)
    serve(settings.model_copy(update={"watch": short}), straw, stop=stop, until_idle=None)
    assert [record.levelname for record in caplog.records if "lease lost" in record.message] == ["WARNING"]
    assert "held by run:dome:1 now" in caplog.text


def test_what_is_settled_in_time_is_no_lost_lease(
    settings: Settings, straw: Straw, caplog: pytest.LogCaptureFixture
) -> None:
    short = settings.watch.model_copy(update={"lease_seconds": 0.3})

    async def slow_to_return(exposure_id: int) -> None:
        await asyncio.to_thread(straw.settle, exposure_id)
        await asyncio.sleep(0.3)

    straw.execute = slow_to_return  # type: ignore[method-assign]
    enqueue(straw.database, 1)
    serve(settings.model_copy(update={"watch": short}), straw)
    assert counts(straw.database)[State.DONE] == 1
    assert "lease lost" not in caplog.text


def test_a_stop_waits_for_what_is_nearly_done(settings: Settings, straw: Straw) -> None:
    stop = threading.Event()

    def work(exposure_id: int) -> None:
        stop.set()
        time.sleep(0.1)

    straw.work = work
    enqueue(straw.database, 2)
    serve(settings, straw, stop=stop, until_idle=None)
    assert counts(straw.database)[State.DONE] == 1
    assert counts(straw.database)[State.RECEIVED] == 1


def test_a_stop_hands_back_what_takes_too_long(settings: Settings, straw: Straw) -> None:
    stop = threading.Event()

    async def endless(exposure_id: int) -> None:
        stop.set()
        await asyncio.sleep(3600)

    straw.execute = endless  # type: ignore[method-assign]
    [exposure_id] = enqueue(straw.database, 1)
    began = time.monotonic()
    serve(settings, straw, stop=stop, until_idle=None)
    assert time.monotonic() - began < 5
    exposure = get_exposure(straw.database, exposure_id)
    assert exposure is not None
    assert (exposure.state, exposure.leased_by, exposure.attempts) == (State.RECEIVED, None, 0)


def test_it_does_not_stop_while_something_is_queued(settings: Settings, straw: Straw) -> None:
    straw.work = lambda exposure_id: time.sleep(0.5)
    enqueue(straw.database, 3)
    serve(settings, straw, until_idle=0.2)
    assert counts(straw.database)[State.DONE] == 3


@pytest.mark.parametrize("fault", [ConfigurationError("cannot be opened"), RetryLater("locked")])
def test_a_store_that_is_away_is_waited_for_and_said_once(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    fault: Exception,
) -> None:  # fmt: skip
    """As of a disk that was unmounted for a minute: SQLite says that it cannot open the file."""
    ids = enqueue(straw.database, 2)
    away = iter([fault] * 5)

    def at_times(database: Database, *arguments: Any, **options: Any) -> Exposure | None:
        error = next(away, None)
        if error is not None:
            raise error
        return lease(database, *arguments, **options)

    monkeypatch.setattr(live_service, "lease", at_times)
    with caplog.at_level("INFO"):
        serve(settings, straw)
    assert straw.as_runs == ids
    assert [record.message for record in caplog.records if "the store is away" in record.message] == [
        f"the store is away; what lands meanwhile waits on the disk: {fault}"
    ]
    assert "the store is back" in caplog.text


def test_the_idle_service_does_not_end_on_a_store_that_is_away(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = iter([ConfigurationError("read-only")] * 3)

    def at_times(database: Database) -> int:
        error = next(away, None)
        if error is not None:
            raise error
        return 0

    monkeypatch.setattr(live_service, "queue_length", at_times)
    serve(settings, straw)
    assert next(away, None) is None


def test_what_could_not_be_settled_is_taken_up_when_the_store_is_back(
    settings: Settings, straw: Straw
) -> None:
    """And not five minutes later, when its lease ends."""
    away = iter([ConfigurationError("read-only")] * 2)

    def work(exposure_id: int) -> None:
        error = next(away, None)
        if error is not None:
            raise error

    straw.work = work
    ids = enqueue(straw.database, 1)
    serve(settings, straw, runs=False)
    assert straw.direct == ids


def test_a_run_whose_server_and_store_are_both_away_is_not_left_open(
    settings: Settings, straw: Straw
) -> None:
    away = RunFault(away=True, message="refused")
    faults = [Ended(task=1, fault=away, error="locked", store=True)] * 2

    class Fails(StrawWorker):
        async def reduce(self, exposure_id: int, path: str, run: BegunRun | None) -> Reduced:
            if not faults:
                return await super().reduce(exposure_id, path, run)
            rest: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
            rest.set_result(faults.pop(0))
            return Reduced(None, rest)

    straw.new_worker = lambda settings: Fails(straw, settings)  # type: ignore[method-assign]
    [exposure_id] = enqueue(straw.database, 1)
    serve(settings, straw)
    assert straw.ended == [(f"run-{exposure_id}", fault) for fault in (away, away, None)]


def test_a_stop_while_the_store_is_away_is_orderly(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()

    def away(*arguments: Any, **options: Any) -> bool:
        raise ConfigurationError("cannot be opened")

    def work(exposure_id: int) -> None:
        stop.set()
        raise ConfigurationError("cannot be opened")

    straw.work = work
    monkeypatch.setattr(exposure_work, "release", away)
    enqueue(straw.database, 1)
    serve(settings, straw, runs=False, stop=stop, until_idle=None)
    assert "handed back at the next start: cannot be opened" in caplog.text


def test_a_stop_does_not_wait_for_a_store_that_hangs(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_service, "STOP_SECONDS", 1.0)
    stop, answers = threading.Event(), threading.Event()
    waited_out: list[bool] = []

    def hang(*arguments: Any, **options: Any) -> bool:
        waited_out.append(answers.wait(60))
        return True

    async def endless(exposure_id: int) -> None:
        stop.set()
        await asyncio.sleep(3600)

    straw.execute = endless  # type: ignore[method-assign]
    monkeypatch.setattr(exposure_work, "release", hang)
    enqueue(straw.database, 2)
    serve(settings, straw, stop=stop, until_idle=None)
    assert waited_out == []
    assert "handed back at the next start: the store does not answer" in caplog.text
    answers.set()


def test_a_stop_does_not_wait_for_a_disk_that_keeps_the_sign_of_life(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_service, "STOP_SECONDS", 1.0)
    answers = threading.Event()
    waited_out: list[bool] = []
    monkeypatch.setattr(background, "forget_beat", lambda file: waited_out.append(answers.wait(20)))
    serve(settings, straw)
    assert waited_out == []
    answers.set()


def test_what_the_store_gives_after_a_stop_goes_back(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was locked as the service asked for the next exposure, and answers when nobody waits any more."""
    begun, answers = threading.Event(), threading.Event()
    asking: list[threading.Thread] = []

    def late(*arguments: Any, **options: Any) -> Exposure | None:
        asking.append(threading.current_thread())
        begun.set()
        assert answers.wait(20)
        return lease(*arguments, **options)

    def stop_then() -> None:
        begun.wait(20)
        stop.set()

    monkeypatch.setattr(live_service, "lease", late)
    [exposure_id] = enqueue(straw.database, 1)
    stop = threading.Event()
    threading.Thread(target=stop_then).start()
    serve(settings, straw, stop=stop, until_idle=None)
    answers.set()
    for thread in asking:
        thread.join(20)
    exposure = get_exposure(straw.database, exposure_id)
    assert exposure is not None
    assert (exposure.state, exposure.leased_by, exposure.service_deaths) == (State.RECEIVED, None, 0)


def hanging(straw: Straw) -> None:
    """Let the server take the connection and say nothing."""

    async def connect() -> bool:
        straw.here = False
        await asyncio.sleep(3600)
        return False

    straw.connect = connect  # type: ignore[method-assign]


def test_a_server_that_hangs_does_not_keep_the_night_from_beginning(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_service, "CONNECT_SECONDS", 0.1)
    hanging(straw)
    ids = enqueue(straw.database, 2)
    serve(settings, straw)
    assert straw.direct == ids
    assert "the night begins without it" in caplog.text


def test_a_server_that_answers_late_shows_what_comes_then(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_service, "CONNECT_SECONDS", 0.1)
    first_done = asyncio.Event()
    straw.here = False

    async def connect() -> bool:
        await first_done.wait()
        straw.here = True
        return True

    straw.connect = connect  # type: ignore[method-assign]
    first, second = enqueue(straw.database, 2)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        straw.work = lambda exposure_id: loop.call_soon_threadsafe(first_done.set) and time.sleep(0.2)
        await LiveService(
            settings, database=straw.database, reducer=None, workers=straw.new_worker, runs=straw,
            stop=threading.Event(), until_idle=0.3,
        ).run()  # fmt: skip

    asyncio.run(main())
    assert (straw.direct, straw.as_runs) == ([first], [second])


def test_a_stop_does_not_wait_for_a_server_that_hangs(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_service, "CONNECT_SECONDS", 3600.0)
    hanging(straw)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    service = LiveService(
        settings, database=straw.database, reducer=None, workers=straw.new_worker, runs=straw, stop=stop
    )
    asyncio.run(asyncio.wait_for(service.run(), 60))


class Reloading:
    """Hands out these settings, or raises, when asked."""

    def __init__(self, *answers: Settings | Exception) -> None:
        self.asked = threading.Event()
        self.answers = list(answers)

    def __call__(self, settings: Settings) -> tuple[Settings, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, "another reducer"


def test_new_settings_count_from_the_next_frame_on(
    settings: Settings, straw: Straw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "second").mkdir()
    (tmp_path / "second/garbage.fits").write_bytes(b"no FITS file")
    watch = settings.watch.model_copy(update={"folders": [Path("second")], "workers": 2})
    reload = Reloading(ConfigurationError("watch.workers = 0"), settings.model_copy(update={"watch": watch}))
    workers: list[StrawWorker] = []

    def work(exposure_id: int) -> None:
        workers.append(straw.workers[-1])
        if len(workers) <= 2:
            reload.asked.set()
            time.sleep(0.3)

    straw.work = work
    enqueue(straw.database, 3)
    service = LiveService(
        settings, database=straw.database, reducer="the first one", workers=straw.new_worker, runs=straw,
        stop=threading.Event(), until_idle=1.0, reload=reload,
    )  # fmt: skip
    asyncio.run(service.run())
    assert [worker.settings.watch.workers for worker in workers] == [1, 1, 2, 2]
    assert not straw.workers[0].alive, "a worker of the old settings"
    assert straw.used == ["another reducer"]
    assert "new settings not taken, the old ones stay: watch.workers = 0" in caplog.text
    assert counts(straw.database)[State.DONE] == 4


def test_new_settings_do_not_wait_for_the_slowest_exposure(settings: Settings, straw: Straw) -> None:
    two = settings.model_copy(update={"watch": settings.watch.model_copy(update={"workers": 2})})
    longer = two.model_copy(update={"watch": two.watch.model_copy(update={"lease_seconds": 301.0})})
    reload = Reloading(longer)
    ids = enqueue(straw.database, 4)
    others = threading.Event()
    done: list[int] = []
    in_time: list[bool] = []

    def work(exposure_id: int) -> None:
        if exposure_id == ids[0]:
            reload.asked.set()
            in_time.append(others.wait(5))
            return
        time.sleep(0.1)
        done.append(exposure_id)
        if len(done) == 3:
            others.set()

    straw.work = work
    service = LiveService(
        two, database=straw.database, reducer=None, workers=straw.new_worker, runs=straw,
        stop=threading.Event(), until_idle=0.3, reload=reload,
    )  # fmt: skip
    asyncio.run(service.run())
    assert in_time == [True]
    assert straw.used == ["another reducer"]
    assert counts(straw.database)[State.DONE] == 4


def test_a_worker_of_the_old_settings_begins_no_frame_that_it_got_as_they_changed(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = settings.model_copy(update={"watch": settings.watch.model_copy(update={"lease_seconds": 301.0})})
    reload = Reloading(longer)
    leased: list[int] = []
    seconds: list[float] = []

    def lease_as_they_change(database: Database, *arguments: Any, **options: Any) -> Exposure | None:
        exposure = lease(database, *arguments, **options)
        if exposure is not None:
            leased.append(exposure.id or 0)
            if len(leased) == 1:
                reload.asked.set()
                time.sleep(0.5)
        return exposure

    monkeypatch.setattr(live_service, "lease", lease_as_they_change)
    straw.work = lambda _: seconds.append(straw.workers[-1].settings.watch.lease_seconds)
    [exposure_id] = enqueue(straw.database, 1)
    service = LiveService(
        settings, database=straw.database, reducer=None, workers=straw.new_worker, runs=straw,
        stop=threading.Event(), until_idle=0.3, reload=reload,
    )  # fmt: skip
    asyncio.run(service.run())
    assert leased == [exposure_id, exposure_id]
    assert seconds == [301.0]
    exposure = get_exposure(straw.database, exposure_id)
    assert exposure is not None
    assert (exposure.state, exposure.attempts) == (State.DONE, 0)


def test_fewer_workers_end_as_they_finish(settings: Settings, straw: Straw) -> None:
    two = settings.model_copy(update={"watch": settings.watch.model_copy(update={"workers": 2})})
    reload = Reloading(settings)
    in_work: list[int] = []
    together: list[int] = []

    def work(exposure_id: int) -> None:
        in_work.append(exposure_id)
        together.append(len(in_work))
        if len(together) == 2:
            reload.asked.set()
        while reload.answers:
            time.sleep(0.01)
        time.sleep(0.5)
        in_work.remove(exposure_id)

    straw.work = work
    enqueue(straw.database, 5)
    service = LiveService(
        two, database=straw.database, reducer=None, workers=straw.new_worker, runs=None,
        stop=threading.Event(), until_idle=0.3, reload=reload,
    )  # fmt: skip
    asyncio.run(service.run())
    assert together == [1, 2, 1, 1, 1]


def test_a_service_whose_ledger_another_one_has_taken_stops(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LOCK_SECONDS", 0.02)
    answers: list[Exception] = [RetryLater("away"), InstanceTaken("another service works on this ledger")]

    class Lock:
        def keep(self) -> None:
            raise answers.pop(0)

    service = LiveService(
        settings, database=straw.database, reducer=None, workers=straw.new_worker, runs=None,
        stop=threading.Event(), lock=Lock(),
    )  # fmt: skip
    with pytest.raises(InstanceTaken, match="another service works on this ledger"):
        asyncio.run(service.run())
    assert answers == []


def dying(straw: Straw, *deaths: WorkerDied) -> None:
    """Let workers die, one after the other, of what they are given."""
    left = list(deaths)

    def new_worker(settings: Settings) -> StrawWorker:
        worker = StrawWorker(straw, settings)
        worker.deaths = [left.pop(0)] if left else []
        straw.workers.append(worker)
        return worker

    straw.new_worker = new_worker  # type: ignore[method-assign]


def test_a_worker_that_dies_is_replaced_and_its_exposure_tried_again(
    settings: Settings, straw: Straw, caplog: pytest.LogCaptureFixture
) -> None:
    dying(straw, WorkerDied("measure, after 1.0 s: worker 7 was killed by SIGKILL"))
    ids = enqueue(straw.database, 2)
    serve(settings, straw)
    assert straw.as_runs == [ids[1], ids[0]], "what killed a worker comes behind what is fresh"
    first = get_exposure(straw.database, ids[0])
    assert first is not None
    assert (first.state, first.attempts, first.service_deaths) == (State.DONE, 1, 0)
    assert len(straw.workers) == 2
    assert "the exposure is received now" in caplog.text
    [crashed] = [fault for _, fault in straw.ended if fault is not None]
    assert not crashed.away
    assert "measure" in crashed.message


@pytest.mark.parametrize("fault", [None, RetryLater("the store is locked")])
def test_what_follows_from_an_end_is_done_where_its_worker_died_right_after(
    settings: Settings, straw: Straw, caplog: pytest.LogCaptureFixture, fault: RetryLater | None
) -> None:
    died_of: list[int] = []

    class Dies(StrawWorker):
        async def reduce(self, exposure_id: int, path: str, run: BegunRun | None) -> Reduced:
            reduced = await super().reduce(exposure_id, path, run)
            if not died_of:
                died_of.append(exposure_id)
                self.alive = False
                raise WorkerDied("conclude, after 0.1 s: worker 7 was killed by SIGKILL")
            return reduced

    followed: list[int] = []

    def follow_up(exposure_id: int) -> None:
        followed.append(exposure_id)
        if fault is not None:
            raise fault

    straw.new_worker = lambda settings: Dies(straw, settings)  # type: ignore[method-assign, assignment]
    ids = enqueue(straw.database, 2)
    serve(settings, straw, reducer=SimpleNamespace(follow_up=follow_up))
    assert followed == died_of
    assert len(straw.as_runs) == 2
    assert {get_exposure(straw.database, one).state for one in ids} == {State.DONE}  # type: ignore[union-attr]
    assert ("is left to the next start" in caplog.text) is (fault is not None)


def test_the_third_death_is_the_end_of_the_exposure_and_of_its_frames(
    settings: Settings, straw: Straw
) -> None:
    dying(straw, *[WorkerDied(f"solve, after {i}.0 s: worker {i} was killed by SIGSEGV") for i in range(3)])
    [killer] = enqueue(straw.database, 1)
    [frame] = record_frames(straw.database, killer, [header()])
    serve(settings, straw)
    exposure = get_exposure(straw.database, killer)
    assert exposure is not None
    assert (exposure.state, exposure.attempts) == (State.FAILED, 3)
    assert "3 workers died of it, at last in solve, after 2.0 s: worker 2 was killed by SIGSEGV" in (
        exposure.reason
    )
    [row] = frames_of(straw.database, killer)
    assert (row.id, row.state, row.reason) == (frame, State.FAILED, exposure.reason)


def test_what_was_in_work_beside_the_cause_is_no_attempt(settings: Settings, straw: Straw) -> None:
    dying(straw, WorkerDied("products, after 300.0 s: worker 7 was ended", guilty=False))
    [innocent] = enqueue(straw.database, 1)
    serve(settings, straw)
    exposure = get_exposure(straw.database, innocent)
    assert exposure is not None
    assert (exposure.state, exposure.attempts, exposure.priority) == (State.DONE, 0, 0)


def test_products_that_died_with_the_worker_are_a_warning_and_cost_no_frame(
    settings: Settings, straw: Straw
) -> None:
    [exposure_id] = enqueue(straw.database, 1)
    [frame] = record_frames(straw.database, exposure_id, [header()])
    straw.work = lambda _: settle_frame(straw.database, frame, State.DONE, "sky is bright")

    class Dies(StrawWorker):
        async def reduce(self, exposure_id: int, path: str, run: BegunRun | None) -> Reduced:
            self.rest = asyncio.get_running_loop().create_future()
            reduced = await super().reduce(exposure_id, path, run)
            self.rest.set_exception(WorkerDied("products, after 1.0 s: killed", unwritten={frame}))
            return reduced

    straw.new_worker = lambda settings: Dies(straw, settings)  # type: ignore[method-assign]
    serve(settings, straw)
    exposure = get_exposure(straw.database, exposure_id)
    assert exposure is not None
    warning = "products not written: products, after 1.0 s: killed"
    assert (exposure.state, exposure.attempts, exposure.reason) == (State.DONE, 0, warning)
    [row] = frames_of(straw.database, exposure_id)
    assert (row.state, row.reason) == (State.DONE, f"sky is bright; {warning}")


def test_a_worker_that_has_grown_too_large_is_replaced(settings: Settings, straw: Straw) -> None:
    def work(exposure_id: int) -> None:
        straw.workers[-1].outgrown = len(straw.workers) == 1

    straw.work = work
    enqueue(straw.database, 3)
    serve(settings, straw)
    assert [one.left_because for one in straw.workers] == [
        "it held more memory than it may",
        "its service stops",
    ]
    assert not straw.workers[0].alive
    assert counts(straw.database)[State.DONE] == 3


def test_a_worker_that_does_not_start_is_tried_again(
    settings: Settings, straw: Straw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [RetryLater("cannot work: the store is locked")] * 2
    start = StrawWorker.start

    async def at_last(self: StrawWorker) -> None:
        if faults:
            raise faults.pop()
        await start(self)

    monkeypatch.setattr(StrawWorker, "start", at_last)
    enqueue(straw.database, 1)
    serve(settings, straw)
    assert counts(straw.database)[State.DONE] == 1
    assert caplog.text.count("a worker is away") == 1
