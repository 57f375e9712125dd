"""Real worker processes, which are killed in each step, hang, swell, and lose their service."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import faulthandler
import gc
import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.wcs import WCS

from nightflow.config import Settings
from nightflow.detector.master_frame import SaturatedPixels
from nightflow.errors import RetryLater
from nightflow.heap import give_back_freed_memory
from nightflow.pipeline import conclusion as conclusion_module
from nightflow.pipeline import reducer as reducer_module
from nightflow.pipeline.conclusion import Conclusions
from nightflow.pipeline.reduce_exposure import reduce_exposure
from nightflow.pipeline.reducer import STEPS, Reducer
from nightflow.service import live_service
from nightflow.service import workbench as workbench_module
from nightflow.service import worker as worker_module
from nightflow.service.leases import worker_name
from nightflow.service.lessons import KEPT, Lessons
from nightflow.service.live_service import LiveService
from nightflow.service.memory import allowed_memory, memory_of, memory_of_the_machine
from nightflow.service.messages import BegunRun, Ended, Learned, RunFault, Task
from nightflow.service.nursery import Nursery, NurseryGone
from nightflow.service.workbench import Execute, serve
from nightflow.service.worker import Reduced, Worker, WorkerDied
from nightflow.store.database import Database
from nightflow.store.frames import frames_of, settle_frame
from nightflow.store.leases import lease_exposure
from nightflow.store.ledger import receive, requeue
from nightflow.store.models import Exposure, State
from nightflow.store.overview import get_exposure
from tests.unit.pipeline.station import Station

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")

MB = 1_000_000


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


@pytest.fixture
def settings(station: Station) -> Settings:
    watch = {"missing_calibration": "warn", "products": False, "settle_seconds": 0.1, "folders": []}
    return station.settings.model_copy(update={"watch": station.settings.watch.model_copy(update=watch)})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with Database(settings.store_url) as database:
        database.upgrade()
        yield database


def step_of_straw(monkeypatch: pytest.MonkeyPatch, **steps: Callable[[Any], None]) -> None:
    """Let steps do this and nothing else, in workers that are forked from now on."""

    def straw(do: Callable[[Any], None]) -> Callable[[Any, Any], dict[str, Any]]:
        return lambda work, context: do(work) or {}

    for step in STEPS[:-1]:
        monkeypatch.setitem(reducer_module._WORKERS, step, straw(steps.get(step, lambda _: None)))
    append = steps.get("append", lambda _: None)
    monkeypatch.setattr(reducer_module, "append", lambda work, *_, **__: append(work) or {})


def with_limits(settings: Settings, **limits: float) -> Settings:
    changed = settings.watch.limits.model_copy(update=limits)
    return settings.model_copy(update={"watch": settings.watch.model_copy(update={"limits": changed})})


def received(station: Station, database: Database, name: str = "light.fits") -> int:
    path = station.frame(name)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    now = datetime.now(UTC)
    return receive(database, str(path), sha256, path.stat().st_size, now=now).exposure_id


def leased(station: Station, database: Database, name: str = "light.fits") -> Exposure:
    exposure_id = received(station, database, name)
    exposure = lease_exposure(database, exposure_id, worker_name(), now=datetime.now(UTC), seconds=600)
    assert exposure is not None
    return exposure


async def reduce(worker: Worker, exposure: Exposure) -> Reduced:
    assert exposure.id is not None
    return await asyncio.wait_for(worker.reduce(exposure.id, exposure.path, None), 60)


def with_worker(
    settings: Settings,
    use: Callable[[Worker], Any],
    execution: Callable[[Reducer], Execute] | None = None,
) -> Any:
    """Start a worker, use it, and let it leave."""
    with Nursery(lambda connection: serve(connection, execution)) as nursery:

        async def main() -> Any:
            worker = Worker(nursery, settings, worker_name())
            await worker.start()
            try:
                return await use(worker)
            finally:
                await worker.leave(5, "the test ends")
                assert not worker.alive

        return asyncio.run(main())


def crash() -> None:
    """Read where nothing is; without the story of it in the output of the tests."""
    faulthandler.disable()
    ctypes.string_at(0)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_a_worker_reduces_one_exposure_after_the_other(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = station.root / "seen"
    step_of_straw(monkeypatch, measure=lambda work: seen.open("a").write(f"{os.getpid()}\n") and None)
    exposures = [leased(station, database, name) for name in ("a.fits", "b.fits")]

    async def use(worker: Worker) -> list[int]:
        for exposure in exposures:
            reduced = await reduce(worker, exposure)
            assert reduced.outcome is not None
            assert reduced.outcome.state == State.DONE
            ended = await reduced.rest
            assert isinstance(ended, Ended)
            assert ended.error == ""
        return [worker.pid]

    [pid] = with_worker(settings, use)
    assert pid != os.getpid()
    assert seen.read_text().split() == [str(pid)] * 2
    assert not is_there(pid)


def test_what_an_exposure_loses_between_its_steps_is_told(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By it a slow server is known; what a step takes is no part of it."""
    step_of_straw(monkeypatch, measure=lambda work: time.sleep(3.0))

    async def execute(task: Task) -> None:
        await asyncio.sleep(0.7)

    async def use(worker: Worker) -> float:
        exposure = leased(station, database)
        assert exposure.id is not None
        reduced = await asyncio.wait_for(worker.reduce(exposure.id, exposure.path, RUN), 60)
        return reduced.between

    lost = with_worker(settings, use, lambda reducer: execute)
    assert 0.7 <= lost < 3.0


@pytest.mark.parametrize("step", ["identify", *STEPS, "conclude"])
def test_a_worker_killed_in_a_step_is_seen_with_the_step(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    step_of_straw(monkeypatch, **({step: die} if step in STEPS else {}))
    if step == "identify":
        monkeypatch.setattr(reducer_module, "identify_file", die)
    elif step == "conclude":
        monkeypatch.setattr(conclusion_module, "settle_exposure", die)

    async def use(worker: Worker) -> None:
        with pytest.raises(
            WorkerDied, match=rf"^{step}, after \d+\.\d s: worker {worker.pid} was killed by SIG"
        ):
            await reduce(worker, leased(station, database))
        assert not worker.alive

    with_worker(settings, use)


def test_a_worker_that_died_while_an_exposure_was_leased_for_it_says_so(
    station: Station, settings: Settings, database: Database
) -> None:
    """Nobody watches it any more: who waited for it would wait for ever."""

    async def use(worker: Worker) -> None:
        os.kill(worker.pid, signal.SIGKILL)
        while worker.alive or not worker._watching.done():
            await asyncio.sleep(0.01)
        with pytest.raises(WorkerDied, match="had ended") as died:
            await reduce(worker, leased(station, database))
        assert not died.value.guilty

    with_worker(settings, use)


def test_an_exposure_that_was_not_begun_does_not_answer_for_the_products_of_another(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> dict[str, str]:
        time.sleep(0.5)  # until the next one is given to it
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    step_of_straw(monkeypatch)
    monkeypatch.setattr(Reducer, "products", die)
    monkeypatch.setattr(workbench_module, "BEHIND", 0)
    first, second = (leased(station, database, name) for name in ("a.fits", "b.fits"))

    async def use(worker: Worker) -> None:
        assert (await reduce(worker, first)).outcome is not None
        with pytest.raises(WorkerDied, match="was killed by SIGKILL") as died:
            await reduce(worker, second)
        assert not died.value.guilty

    with_worker(settings, use)


def test_a_crash_of_a_library_is_named(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_of_straw(monkeypatch, solve=lambda work: crash())

    async def use(worker: Worker) -> None:
        with pytest.raises(WorkerDied, match=r"^solve, .* was killed by SIGSEGV$") as died:
            await reduce(worker, leased(station, database))
        assert died.value.guilty

    with_worker(settings, use)


def test_a_worker_that_is_refused_memory_ends_and_its_exposure_is_tried_again(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that has failed would wait for a person; a new worker has learnt nothing, and may have more."""
    refused = station.root / "refused"

    def want(work: Any) -> None:
        if not refused.exists():
            refused.touch()
            np.empty(2**50)

    step_of_straw(monkeypatch, measure=want)
    exposure = leased(station, database)

    async def use(worker: Worker) -> None:
        with pytest.raises(WorkerDied, match=r"^measure, .* was refused the memory that it needs$") as died:
            await reduce(worker, exposure)
        assert died.value.guilty

    with_worker(settings, use)
    kept = get_exposure(database, exposure.id or 0)
    assert kept is not None
    assert kept.state == State.REDUCING, "for the service to hand it to another worker"


@pytest.mark.fault("worker hung")
def test_a_step_that_hangs_is_really_ended(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it started in a group of its own, as solvers are; and although it is deaf to most signals."""
    child = station.root / "child"

    def hang(work: Any) -> None:
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        process = subprocess.Popen(sleep, start_new_session=True)
        child.write_text(str(process.pid))
        process.wait()

    step_of_straw(monkeypatch, measure=hang)

    async def use(worker: Worker) -> int:
        with pytest.raises(
            WorkerDied, match=r"^measure, after .* was ended, the limit is 1 s \(\[watch\] limits\)$"
        ) as died:
            await reduce(worker, leased(station, database))
        assert died.value.guilty
        return worker.pid

    pid = with_worker(with_limits(settings, measure=1.0), use)
    wait_until(
        lambda: not is_there(pid) and not is_there(int(child.read_text())), "the hanging step to be gone"
    )


def test_waiting_between_steps_has_its_limit(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a server that never answers."""
    from nightflow.service import workbench

    step_of_straw(monkeypatch)
    monkeypatch.setattr(workbench, "reduce_exposure", lambda *_, **__: time.sleep(60))

    async def use(worker: Worker) -> None:
        with pytest.raises(
            WorkerDied, match=r"^between two steps, after .* the limit is 0.5 s \(\[watch\] limits\)$"
        ):
            await reduce(worker, leased(station, database))

    with_worker(with_limits(settings, other=0.5), use)


def test_a_worker_that_swells_is_ended(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swell(work: Any) -> None:
        work.hoard = np.ones(60 * MB)  # 480 MB
        time.sleep(60)

    step_of_straw(monkeypatch, measure=swell)
    own = memory_of(os.getpid())
    assert own is not None
    monkeypatch.setattr(worker_module, "allowed_memory", lambda settings: (own + 300 * MB) / 1.5)

    async def use(worker: Worker) -> None:
        with pytest.raises(
            WorkerDied, match=r"^measure, .* was ended, it held .* GB of memory where"
        ) as died:
            await reduce(worker, leased(station, database))
        assert died.value.guilty

    with_worker(settings, use)


def test_a_worker_that_has_grown_says_so_after_its_exposure(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hoard: list[Any] = []
    step_of_straw(monkeypatch, measure=lambda work: hoard.append(np.ones(25 * MB)))
    own = memory_of(os.getpid())
    assert own is not None
    monkeypatch.setattr(worker_module, "allowed_memory", lambda settings: own + 100 * MB)

    async def use(worker: Worker) -> tuple[bool, bool]:
        before = worker.outgrown
        await reduce(worker, leased(station, database))
        return before, worker.outgrown

    assert with_worker(settings, use) == (False, True)


def test_what_an_exposure_held_and_freed_does_not_count_against_its_worker(
    station: Station, settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while its products are being written: that is when a worker is looked at."""
    looked = tmp_path / "looked"
    heap: list[Any] = []

    def give_back() -> None:
        heap.clear()
        give_back_freed_memory()

    # A heap of straw: what a fork of this process frees depends on the threads that pytest has had.
    step_of_straw(monkeypatch, measure=lambda work: heap.append(np.ones(25 * MB)))
    monkeypatch.setattr(workbench_module, "give_back_freed_memory", give_back)
    monkeypatch.setattr(reducer_module, "write_products", lambda *_: wait_for(looked) or {})
    own = memory_of(os.getpid())
    assert own is not None
    for module in (worker_module, workbench_module):
        monkeypatch.setattr(module, "allowed_memory", lambda settings: own + 100 * MB)
    watch = settings.watch.model_copy(update={"products": True})

    async def use(worker: Worker) -> bool:
        reduced = await reduce(worker, leased(station, database))
        outgrown = worker.outgrown
        looked.touch()
        await reduced.rest
        return outgrown

    assert with_worker(settings.model_copy(update={"watch": watch}), use) is False


def test_pixels_of_an_exposure_that_the_store_could_not_settle_are_let_go(
    station: Station, settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    alive: list[weakref.ref[Any]] = []

    def look(work: Any) -> None:
        gc.collect()
        said.write_text(str([one() is not None for one in alive]))
        alive.append(weakref.ref(work))

    def settle(database: Database, frame_id: int, *arguments: Any, **options: Any) -> None:
        if len(alive) == 1:
            raise RetryLater("the disk of the store is away")
        settle_frame(database, frame_id, *arguments, **options)

    step_of_straw(monkeypatch, measure=look)
    monkeypatch.setattr(reducer_module, "settle_frame", settle)
    first, second = (leased(station, database, name) for name in ("a.fits", "b.fits"))

    async def use(worker: Worker) -> str:
        unsettled = await reduce(worker, first)
        error = (await unsettled.rest).error
        await (await reduce(worker, second)).rest
        return error

    assert "the disk of the store is away" in with_worker(settings, use)
    assert said.read_text() == "[False]"


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)


def test_masters_mapped_from_disk_are_no_memory_of_a_worker(tmp_path: Path) -> None:
    file = tmp_path / "master"
    np.ones(25 * MB).tofile(file)
    before = memory_of(os.getpid())
    mapped = np.memmap(file, mode="r")
    assert mapped.sum() > 0
    after = memory_of(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before < 100 * MB


def test_the_memory_of_a_worker_is_its_part_of_the_machine(settings: Settings) -> None:
    machine = memory_of_the_machine()
    assert machine is not None
    two = settings.model_copy(update={"watch": settings.watch.model_copy(update={"workers": 2})})
    assert allowed_memory(two) == machine // 4
    told = settings.model_copy(update={"watch": settings.watch.model_copy(update={"memory_gb": 1.5})})
    assert allowed_memory(told) == 1500 * MB
    assert memory_of(2**22 + 1) is None


def test_the_next_exposure_begins_while_products_are_written(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"watch": settings.watch.model_copy(update={"products": True})})
    gate = station.root / "gate"

    def slow(work: Any, context: Any) -> dict[str, str]:
        while not gate.exists():
            time.sleep(0.01)
        work.warnings.append("products not written: OSError: no room")
        return {}

    step_of_straw(monkeypatch)
    monkeypatch.setattr(reducer_module, "write_products", slow)
    first, second = (leased(station, database, name) for name in ("a.fits", "b.fits"))

    async def use(worker: Worker) -> None:
        one = await reduce(worker, first)
        two = await reduce(worker, second)
        assert one.outcome is not None
        assert two.outcome is not None
        row = get_exposure(database, first.id or 0)
        assert row is not None
        assert (row.state, row.leased_by, row.reason) == (State.DONE, None, "")
        gate.touch()
        await asyncio.gather(one.rest, two.rest)

    with_worker(settings, use)
    for exposure in (first, second):
        row = get_exposure(database, exposure.id or 0)
        assert row is not None
        assert (row.state, row.reason) == (State.DONE, "products not written: OSError: no room")
        [frame] = frames_of(database, exposure.id or 0)
        assert (frame.state, frame.reason) == (State.DONE, "products not written: OSError: no room")


def test_products_that_hang_cost_the_exposure_in_work_no_attempt(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_limits(settings, products=1.0)
    settings = settings.model_copy(update={"watch": settings.watch.model_copy(update={"products": True})})
    step_of_straw(monkeypatch, solve=lambda work: time.sleep(60) if work.path.name == "b.fits" else None)
    monkeypatch.setattr(reducer_module, "write_products", lambda *_: time.sleep(60))
    first, second = (leased(station, database, name) for name in ("a.fits", "b.fits"))

    async def use(worker: Worker) -> None:
        one = await reduce(worker, first)
        assert one.outcome is not None
        with pytest.raises(WorkerDied) as innocent:
            await reduce(worker, second)
        assert not innocent.value.guilty
        with pytest.raises(WorkerDied, match=r"^products, ") as died:
            await one.rest
        [frame] = frames_of(database, first.id or 0)
        assert died.value.unwritten == {frame.id}

    with_worker(settings, use)


def test_products_that_a_worker_leaves_unwritten_say_why_it_had_to_leave(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"watch": settings.watch.model_copy(update={"products": True})})
    step_of_straw(monkeypatch)
    monkeypatch.setattr(reducer_module, "write_products", lambda *_: time.sleep(60))
    exposure = leased(station, database)

    async def use(worker: Worker) -> None:
        reduced = await reduce(worker, exposure)
        await worker.leave(0.1, "it held more memory than it may")
        with pytest.raises(WorkerDied, match=r"worker \d+ was ended, it held more memory than it may$"):
            await reduced.rest

    with_worker(settings, use)


def test_signals_to_the_group_are_the_services_to_understand(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C, and systemd's stop, reach every process at once."""

    def hear(work: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)

    step_of_straw(monkeypatch, measure=hear)

    async def use(worker: Worker) -> Reduced:
        return await reduce(worker, leased(station, database))

    outcome = with_worker(settings, use).outcome
    assert outcome is not None
    assert outcome.state == State.DONE


def test_workers_end_with_their_service_however_it_ends(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
import asyncio, os, time
from pathlib import Path
from nightflow.service.nursery import Nursery

async def main(nursery):
    pid, pipe, _ = await nursery.fork()
    pipe.recv()
    Path({str(pids)!r}).write_text(f"{{nursery.pid}} {{pid}}")
    time.sleep(60)

def serve(pipe):
    pipe.send("here")
    while True:
        time.sleep(1)

asyncio.run(main(Nursery(serve)))
"""
    service = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: pids.exists() and pids.read_text(), "the worker to begin", 60)
    children = [int(pid) for pid in pids.read_text().split()]
    assert all(is_there(pid) for pid in children)
    service.kill()
    service.wait()
    wait_until(lambda: not any(is_there(pid) for pid in children), "nursery and worker to be gone")


def test_a_nursery_that_is_gone_is_said() -> None:
    def idle(pipe: Connection) -> None:
        with suppress(EOFError):
            pipe.recv()

    with Nursery(idle) as nursery:

        async def main() -> int:
            pid, _, exited = await nursery.fork()
            os.kill(nursery.pid, signal.SIGKILL)
            assert await asyncio.wait_for(exited, 10) == -signal.SIGKILL
            with pytest.raises(NurseryGone):
                await nursery.fork()
            return pid

        pid = asyncio.run(main())
        wait_until(lambda: not is_there(pid), "the worker to end with it")


def test_a_fork_that_is_refused_is_tried_again_later() -> None:
    """For want of memory, or of processes that its user may have."""

    def refuse_once() -> None:
        fork = os.fork

        def refusing() -> int:
            os.fork = fork
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        os.fork = refusing

    with Nursery(lambda connection: None, refuse_once) as nursery:

        async def main() -> None:
            with pytest.raises(RetryLater, match=r"no worker can be started now: Resource temporarily"):
                await nursery.fork()
            _, _, exited = await nursery.fork()
            assert await asyncio.wait_for(exited, 10) == 0

        asyncio.run(main())


def test_a_worker_may_end_before_its_birth_is_heard_of() -> None:
    with Nursery(lambda connection: None) as nursery:

        async def main() -> None:
            birth = asyncio.create_task(nursery.fork())
            await asyncio.sleep(0)
            time.sleep(0.5)  # both notes are there when the loop comes to listen
            pid, _, exited = await asyncio.wait_for(birth, 10)
            assert pid > 0
            assert await asyncio.wait_for(exited, 10) == 0

        asyncio.run(main())


def test_a_worker_that_is_killed_before_it_begins_is_tried_again_later(settings: Settings) -> None:
    class Late(Nursery):
        async def fork(self) -> tuple[int, Connection, asyncio.Future[int]]:
            pid, connection, exited = await super().fork()
            self.kill(pid)
            await exited
            return pid, connection, exited

    with Late(lambda connection: time.sleep(60)) as nursery:

        async def main() -> None:
            worker = Worker(nursery, settings, worker_name())
            with pytest.raises(RetryLater, match=r"worker \d+ cannot work: was killed by SIGKILL"):
                await worker.start()
            assert not worker.alive

        asyncio.run(main())


def test_the_service_replaces_and_gives_up_and_goes_on(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A frame that kills whoever measures it, and one that does so once."""
    monkeypatch.setattr(live_service, "POLL_SECONDS", 0.05)
    once = station.root / "once"

    def measure(work: Any) -> None:
        if work.path.name == "killer.fits":
            os.kill(os.getpid(), signal.SIGKILL)
        if work.path.name == "once.fits" and not once.exists():
            once.touch()
            crash()

    step_of_straw(monkeypatch, measure=measure)
    killer, unlucky, good = (
        received(station, database, name) for name in ("killer.fits", "once.fits", "good.fits")
    )
    with Nursery(serve) as nursery, caplog.at_level(logging.INFO):
        service = LiveService(
            settings, database=database, reducer=None, runs=None, stop=threading.Event(), until_idle=0.5,
            workers=lambda settings: Worker(nursery, settings, worker_name()),
        )  # fmt: skip
        asyncio.run(service.run())
    rows = {one: get_exposure(database, one) for one in (killer, unlucky, good)}
    ended = {one: (row.state, row.attempts) for one, row in rows.items() if row is not None}
    assert ended == {killer: (State.FAILED, 3), unlucky: (State.DONE, 1), good: (State.DONE, 0)}
    [frame] = frames_of(database, killer)
    assert frame.state == State.FAILED
    assert "3 workers died of it, at last in measure, after" in frame.reason
    assert "SIGKILL" in frame.reason


def test_a_worker_that_cannot_be_ended_is_left_behind_and_replaced(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """As one that waits for a network disk, which SIGKILL does not reach before the disk is back."""
    monkeypatch.setattr(live_service, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(worker_module, "REAP_SECONDS", 0.3)
    monkeypatch.setattr(Nursery, "kill", lambda nursery, pid: None)
    stuck = station.root / "stuck"

    def measure(work: Any) -> None:
        if work.path.name == "stuck.fits" and not stuck.exists():
            stuck.touch()
            time.sleep(600)

    step_of_straw(monkeypatch, measure=measure)
    unlucky, good = (received(station, database, name) for name in ("stuck.fits", "good.fits"))
    with Nursery(serve) as nursery:
        service = LiveService(
            with_limits(settings, measure=1.0), database=database, reducer=None, runs=None,
            stop=threading.Event(), until_idle=0.5,
            workers=lambda settings: Worker(nursery, settings, worker_name()),
        )  # fmt: skip
        asyncio.run(asyncio.wait_for(service.run(), 60))
    rows = {one: get_exposure(database, one) for one in (unlucky, good)}
    ended = {one: (row.state, row.attempts) for one, row in rows.items() if row is not None}
    assert ended == {unlucky: (State.DONE, 1), good: (State.DONE, 0)}
    assert "the limit is 1 s ([watch] limits); it has not ended in 0.3 s and is left behind" in caplog.text


def test_a_stop_ends_what_takes_too_long_and_hands_it_back(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_service, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(live_service, "GRACE_SECONDS", 0.3)
    pid = station.root / "pid"

    def endless(work: Any) -> None:
        pid.write_text(str(os.getpid()))
        time.sleep(60)

    step_of_straw(monkeypatch, solve=endless)
    exposure_id = received(station, database)
    stop = threading.Event()

    def stop_then() -> None:
        wait_until(lambda: pid.exists() and pid.read_text(), "the step to begin")
        stop.set()

    threading.Thread(target=stop_then).start()
    with Nursery(serve) as nursery:
        service = LiveService(
            settings, database=database, reducer=None, runs=None, stop=stop,
            workers=lambda settings: Worker(nursery, settings, worker_name()),
        )  # fmt: skip
        asyncio.run(service.run())
        assert not is_there(int(pid.read_text())), "it could settle what was handed back"
    row = get_exposure(database, exposure_id)
    assert row is not None
    assert (row.state, row.leased_by, row.attempts) == (State.RECEIVED, None, 0)


def queued_again_once(monkeypatch: pytest.MonkeyPatch, mark: Path) -> None:
    """Let the first exposure be queued again as it is concluded, as where its calibration came meanwhile."""

    def follow_up(self: Conclusions, ended: Any) -> None:
        if not mark.exists():
            mark.touch()
            assert requeue(self._database, [ended.exposure.id or 0], now=datetime.now(UTC))

    monkeypatch.setattr(Conclusions, "_follow_up", follow_up)


def with_a_tail(root: Path, tail: Callable[[], Any]) -> Callable[[Reducer], Execute]:
    """Return what executes runs that have something to say to their server when the ledger has settled."""

    def execution(reducer: Reducer) -> Execute:
        async def execute(task: Task) -> RunFault | None:
            (root / "runs").open("a").write("begins\n")
            await asyncio.to_thread(reduce_exposure, reducer, task.exposure_id, worker_name())
            await asyncio.to_thread(tail)
            (root / "runs").open("a").write("ends\n")
            return None

        return execute

    return execution


RUN = BegunRun(id="run", content="")


def test_what_is_queued_again_as_it_is_concluded_is_the_next_ones_to_reduce(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held by the same service again while the first run has its last words."""
    step_of_straw(monkeypatch)
    queued_again_once(monkeypatch, station.root / "again")
    gate = station.root / "gate"
    execution = with_a_tail(station.root, lambda: wait_until(gate.exists, "the gate to open"))
    exposure = leased(station, database)
    exposure_id = exposure.id or 0

    async def main(nursery: Nursery) -> None:
        worker = Worker(nursery, settings, worker_name())
        await worker.start()
        first = await asyncio.wait_for(worker.reduce(exposure_id, exposure.path, RUN), 60)
        assert first.outcome is not None
        now = datetime.now(UTC)
        assert lease_exposure(database, exposure_id, worker_name(), now=now, seconds=600) is not None
        gate.touch()
        ended = await asyncio.wait_for(asyncio.shield(first.rest), 60)  # type: ignore[arg-type]
        assert (ended.direct, ended.error) == (None, "")
        row = get_exposure(database, exposure_id)
        assert row is not None
        assert row.state == State.REDUCING, "it was reduced by the task before"
        again = await asyncio.wait_for(worker.reduce(exposure_id, exposure.path, RUN), 60)
        assert again.outcome is not None
        assert (await again.rest).task != ended.task
        await worker.leave(5, "the test ends")

    with Nursery(lambda connection: serve(connection, execution)) as nursery:
        asyncio.run(main(nursery))


def test_the_service_reduces_what_is_queued_again_as_it_is_concluded_once_more_and_then(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(live_service, "POLL_SECONDS", 0.05)
    step_of_straw(monkeypatch)
    queued_again_once(monkeypatch, station.root / "again")
    exposure_id = received(station, database)

    class Runs:
        async def connect(self) -> bool:
            return True

        async def keep_connected(self) -> None:
            await asyncio.sleep(3600)

        async def begin(self, exposure: Exposure) -> BegunRun:
            return RUN

        async def end(self, run: BegunRun, fault: RunFault | None = None) -> None:
            assert fault is None

    execution = with_a_tail(station.root, lambda: time.sleep(0.7))
    with Nursery(lambda connection: serve(connection, execution)) as nursery:
        service = LiveService(
            settings, database=database, reducer=None, runs=Runs(), stop=threading.Event(), until_idle=0.5,  # type: ignore[arg-type]
            workers=lambda settings: Worker(nursery, settings, worker_name()),
        )  # fmt: skip
        asyncio.run(asyncio.wait_for(service.run(), 30))
    row = get_exposure(database, exposure_id)
    assert row is not None
    assert (row.state, row.reason) == (State.DONE, "")
    assert (station.root / "runs").read_text().split() == ["begins", "ends"] * 2
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_what_one_worker_learns_the_next_one_knows(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last solution, and what was saturated a moment ago; of a worker that is dead, too."""
    seen = station.root / "seen"
    sky = WCS(naxis=2)
    sky.wcs.ctype, sky.wcs.crval, sky.pixel_shape = ["RA---TAN", "DEC--TAN"], [132.8, 11.8], (40, 32)

    def solve(work: Any, context: Any) -> dict[str, Any]:
        if work.path.name == "a.fits":
            saturated = SaturatedPixels(
                mjd_begin=work.header.mjd_mid - 0.02,
                mjd_end=work.header.mjd_mid - 0.01,
                shape=(32, 40),
                index=np.arange(3),
            )
            context.saturation.remember(work.header, saturated)
            context.pointings.remember("tinycam", "", 132.8, 11.8, sky)
            return {}
        wcs = context.pointings.recall("tinycam", "", 132.85, 11.8)
        [earlier] = context.saturation.earlier(work.header)
        seen.write_text(f"{wcs.wcs.crval} {wcs.pixel_shape} {earlier.index}")
        return {}

    step_of_straw(monkeypatch)
    monkeypatch.setitem(reducer_module._WORKERS, "solve", solve)
    first, second = (leased(station, database, name) for name in ("a.fits", "b.fits"))
    lessons = Lessons()

    async def main(nursery: Nursery) -> None:
        for exposure in (first, second):
            worker = Worker(nursery, settings, worker_name(), lessons)
            await worker.start()
            await (await reduce(worker, exposure)).rest
            worker.kill("was ended by a test")
            await worker.leave(5, "the test ends")

    with Nursery(serve) as nursery:
        asyncio.run(main(nursery))
    assert seen.read_text() == "[132.8  11.8] (40, 32) [0 1 2]"


def lessons_in_memory() -> int:
    gc.collect()
    return sum(isinstance(one, Learned) for one in gc.get_objects())


def test_no_more_is_kept_of_what_a_worker_has_learnt_than_the_others_are_told(
    station: Station, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker lives for nights, and each exposure teaches it something."""

    def solve(work: Any, context: Any) -> dict[str, Any]:
        for number in range(3 * KEPT if work.path.name == "a.fits" else 0):
            saturated = SaturatedPixels(
                mjd_begin=float(number) - 1.0, mjd_end=float(number), shape=(32, 40), index=np.arange(3)
            )
            context.saturation.remember(work.header, saturated)
        return {}

    step_of_straw(monkeypatch)
    monkeypatch.setitem(reducer_module._WORKERS, "solve", solve)
    before = lessons_in_memory()

    async def use(worker: Worker) -> tuple[int, int]:
        counted = []
        for name in ("a.fits", "b.fits"):
            await (await reduce(worker, leased(station, database, name))).rest
            counted.append(lessons_in_memory() - before)
        return counted[0], counted[1]

    assert with_worker(settings, use) == (KEPT, KEPT)


def test_a_lesson_is_told_once_and_its_successor_again(settings: Settings) -> None:
    lessons = Lessons()
    worker = Worker(None, settings, worker_name(), lessons)  # type: ignore[arg-type]
    told: list[bytes] = []

    class Pipe:
        def send(self, message: Learned) -> None:
            told.append(message.content)

    worker._connection = Pipe()  # type: ignore[assignment]
    lessons.add(Learned(memory="pointings", key=("M 67",), content=b"another one's"))
    worker._take(Learned(memory="pointings", key=("M 44",), content=b"its own"))
    for _ in range(2):
        worker._teach()
    assert told == [b"another one's"]
    lessons.add(Learned(memory="pointings", key=("M 44",), content=b"a newer one"))
    worker._teach()
    assert told == [b"another one's", b"a newer one"]


def test_lessons_are_bounded_and_the_newest_of_a_kind_counts() -> None:
    lessons = Lessons()
    for number in range(KEPT + 3):
        lessons.add(Learned(memory="saturation", key=(number,), content=b"old"))
    newest = Learned(memory="saturation", key=(10,), content=b"new")
    lessons.add(newest)
    known = list(lessons.all().values())
    assert len(known) == KEPT
    assert known[-1] is newest
    assert [lesson.content for lesson in known if lesson.key == (10,)] == [b"new"]
