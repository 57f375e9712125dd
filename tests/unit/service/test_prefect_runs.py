"""Runs on a Prefect server of straw: what is asked of it, and what follows when it does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.context import TagsContext
from prefect.exceptions import Abort, ObjectNotFound, ParameterTypeError, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Failed, Pending, Running

from nightflow import __version__
from nightflow.errors import RetryLater
from nightflow.service import prefect_leftovers, prefect_runs
from nightflow.service.messages import BegunRun, RunFault, Task
from nightflow.service.prefect_leftovers import PAGE
from nightflow.service.prefect_runs import INGEST, PrefectRuns, RunExecutor
from nightflow.service.unshown import note_shown
from nightflow.store.database import Database
from nightflow.store.leases import lease_exposure
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import Exposure, State
from tasks.context import current_reducer, use_reducer

EXPOSURE = Exposure(
    id=3,
    path="/incoming/d1047.fits",
    sha256="abc",
    size=2880,
    attempts=1,
    received_at=datetime(2026, 1, 2, tzinfo=UTC),
)


class Server:
    """Answers as the client would; remembers what it was asked."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.deployment: Any = None
        self.created: list[dict[str, Any]] = []
        self.runs: dict[str, Any] = {}
        self.unfinished: list[Any] = []
        self.at_work: list[Any] = []
        self.states: dict[UUID, Any] = {}
        self.set_states: list[tuple[UUID, str]] = []
        self.executed: list[tuple[str, Any, dict[str, Any]]] = []
        self.named: list[tuple[str, set[str]]] = []
        self.ends: list[Any] = []

    async def __aenter__(self) -> Server:
        if self.fault is not None:
            raise self.fault
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @property
    def client(self) -> Server:
        return self

    async def read_deployment_by_name(self, name: str) -> Any:
        assert name == "ingest-exposure/live"
        if self.deployment is None:
            raise ObjectNotFound(Exception("404"))
        return self.deployment

    async def create_flow(self, flow: Any) -> UUID:
        return uuid4()

    async def create_deployment(self, **arguments: Any) -> UUID:
        self.created.append(arguments)
        return uuid4()

    async def read_flow_runs(self, *, flow_run_filter: Any, limit: int, offset: int) -> list[Any]:
        [tag] = flow_run_filter.tags.all_
        assert "SCHEDULED" not in flow_run_filter.state.type.any_, "what waits for its time has no process"
        found = self.unfinished if tag == "ledger-1" else self.at_work
        return found[offset : offset + limit]

    async def read_flow_run(self, run_id: UUID) -> Any:
        return SimpleNamespace(id=run_id, state=self.states.get(run_id, Running()))

    async def set_flow_run_state(self, run_id: UUID, state: Any, force: bool) -> None:
        assert force
        self.set_states.append((run_id, state.name))

    async def create_flow_run_from_deployment(self, deployment_id: UUID, **asked: Any) -> Any:
        key = asked["idempotency_key"]
        if key not in self.runs:
            self.runs[key] = prefect_runs.FlowRun(
                id=uuid4(), flow_id=uuid4(), deployment_id=deployment_id, name=asked["name"],
                state=asked["state"], tags=asked["tags"], parameters=asked["parameters"],
            )  # fmt: skip
        return self.runs[key]

    async def execute(self, flow: Any, *, parameters: dict[str, Any], return_type: str, **rest: Any) -> Any:
        self.executed.append((flow.name, rest.get("flow_run"), parameters))
        self.named.append((flow.flow_run_name, TagsContext.get().current_tags))
        return self.ends.pop(0) if self.ends else Completed()


class Reducer:
    database: Database

    @property
    def fingerprints(self) -> Reducer:
        return self

    def plan_of(self, exposure_id: int) -> str:
        return f"plan{exposure_id}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setattr(prefect_runs, "get_client", lambda: server)
    monkeypatch.setattr(prefect_runs, "_RunClient", lambda: server)
    monkeypatch.setattr(prefect_runs, "run_flow_async", server.execute)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        yield server
    use_reducer(None)


@pytest.fixture
def runs(server: Server) -> PrefectRuns:
    return PrefectRuns(Reducer(), identity="ledger-1", probe_seconds=0.01)  # type: ignore[arg-type]


def connected(runs: PrefectRuns) -> PrefectRuns:
    assert asyncio.run(runs.connect())
    return runs


def reduce(runs: PrefectRuns) -> str | None:
    """Begin a run, execute it as a worker does, and end it."""

    async def main() -> str | None:
        run = await runs.begin(EXPOSURE)
        if run is None:
            return None
        executor = RunExecutor(Reducer())  # type: ignore[arg-type]
        await runs.end(run, await executor(Task(number=1, exposure_id=3, path=EXPOSURE.path, run=run)))
        return run.id

    return asyncio.run(main())


def test_the_reducer_becomes_that_of_the_workers_process(server: Server) -> None:
    reducer = Reducer()
    RunExecutor(reducer)  # type: ignore[arg-type]
    assert current_reducer() is reducer  # type: ignore[comparison-overlap]


def test_a_run_whose_worker_died_is_closed(runs: PrefectRuns, server: Server) -> None:
    connected(runs)

    async def main() -> BegunRun | None:
        run = await runs.begin(EXPOSURE)
        assert run is not None
        await runs.end(run, RunFault(away=False, message="measure: killed by SIGKILL"))
        return run

    run = asyncio.run(main())
    assert run is not None
    assert server.set_states == [(UUID(run.id), "Crashed")]
    assert runs._active == set()
    assert runs.here


def test_without_an_address_there_is_no_server(runs: PrefectRuns, caplog: pytest.LogCaptureFixture) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert not asyncio.run(runs.connect())
    assert "prefect.api_url" in caplog.text
    assert reduce(runs) is None


def test_a_new_server_gets_the_deployment(runs: PrefectRuns, server: Server) -> None:
    connected(runs)
    [made] = server.created
    assert (made["name"], made["entrypoint"], made["version"]) == ("live", INGEST, __version__)
    assert set(made["parameter_openapi_schema"]["properties"]) == {"exposure_id", "path"}


def test_a_deployment_of_this_version_is_left_alone(runs: PrefectRuns, server: Server) -> None:
    server.deployment = SimpleNamespace(id=uuid4(), version=__version__)
    connected(runs)
    assert server.created == []


def test_an_older_deployment_is_renewed_and_keeps_its_work_pool(runs: PrefectRuns, server: Server) -> None:
    server.deployment = SimpleNamespace(id=uuid4(), version="0.0.1", work_pool_name="dome", tags=["mine"])
    connected(runs)
    [made] = server.created
    assert (made["work_pool_name"], made["tags"], made["version"]) == ("dome", ["mine"], __version__)


def test_runs_of_a_dead_service_are_closed_page_by_page(runs: PrefectRuns, server: Server) -> None:
    server.unfinished = [SimpleNamespace(id=uuid4(), name="d.fits") for _ in range(PAGE + 5)]
    connected(runs)
    assert server.set_states == [(run.id, "Crashed") for run in server.unfinished]


def test_runs_of_dead_processes_of_this_machine_are_closed(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a maintenance that a power cut ended; what others execute is left alone."""
    monkeypatch.setattr(prefect_leftovers, "is_gone", lambda mark: mark == "process:dead")
    tags = {"dead": ["nightflow", "process:dead"], "alive": ["process:alive"], "unknown": ["nightflow"]}
    server.at_work = [SimpleNamespace(id=uuid4(), name=name, tags=marks) for name, marks in tags.items()]
    connected(runs)
    assert server.set_states == [(server.at_work[0].id, "Crashed")]


def test_a_run_that_has_ended_since_the_runs_were_listed_is_left_as_it_ended(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_leftovers, "is_gone", lambda mark: True)
    server.at_work = [SimpleNamespace(id=uuid4(), name="d.fits", tags=["nightflow", "process:7"])]
    server.states[server.at_work[0].id] = Completed()
    connected(runs)
    assert server.set_states == []


def test_runs_that_are_going_on_are_not_closed(runs: PrefectRuns, server: Server) -> None:
    mine, lost = (SimpleNamespace(id=uuid4(), name="d.fits") for _ in range(2))
    server.unfinished = [mine, lost]
    runs._active.add(mine.id)
    connected(runs)
    assert server.set_states == [(lost.id, "Crashed")]


def test_a_run_that_ends_while_others_are_closed_is_not_closed(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, mine = (SimpleNamespace(id=uuid4(), name="d.fits") for _ in range(2))
    server.unfinished = [lost, mine]
    runs._active.add(mine.id)
    set_state = server.set_flow_run_state

    async def ends_meanwhile(run_id: UUID, state: Any, force: bool) -> None:
        await set_state(run_id, state, force)
        server.states[mine.id] = Completed()
        await runs.end(BegunRun(id=str(mine.id), content=""))

    monkeypatch.setattr(server, "set_flow_run_state", ends_meanwhile)
    connected(runs)
    assert server.set_states == [(lost.id, "Crashed")]


@pytest.mark.parametrize("asked", ["read_deployment_by_name", "read_flow_runs", "read_flow_run"])
def test_a_run_whose_end_the_server_does_not_hear_of_while_it_is_looked_for_is_closed(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """Its engine gives up about the time when the server is back."""
    mine, lost = (SimpleNamespace(id=uuid4(), name="d.fits") for _ in range(2))
    runs._active.add(mine.id)
    answer = getattr(server, asked)

    async def ends_meanwhile(*args: Any, **named: Any) -> Any:
        if mine.id in runs._active:
            await runs.end(BegunRun(id=str(mine.id), content=""), RunFault(away=True, message="refused"))
        return await answer(*args, **named)

    monkeypatch.setattr(server, asked, ends_meanwhile)
    server.unfinished = [mine, lost]
    assert not asyncio.run(runs.connect())
    server.unfinished = [run for run in (mine, lost) if run.id not in dict(server.set_states)]
    connected(runs)
    assert sorted(server.set_states) == sorted((run.id, "Crashed") for run in (mine, lost))


def test_where_a_run_cannot_be_closed_the_server_is_looked_for_again(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_answer(*_: Any, **__: Any) -> None:
        raise httpx.ReadTimeout("no answer")

    connected(runs)
    mine = SimpleNamespace(id=uuid4(), name="d.fits")
    with monkeypatch.context() as patch:
        patch.setattr(server, "set_flow_run_state", no_answer)
        died = RunFault(away=False, message="killed by SIGKILL")
        asyncio.run(runs.end(BegunRun(id=str(mine.id), content=""), died))
    assert not runs.here
    server.unfinished = [mine]
    connected(runs)
    assert server.set_states == [(mine.id, "Crashed")]


def keep_connected(runs: PrefectRuns, until: Callable[[], bool]) -> None:
    async def main() -> None:
        keeping = asyncio.create_task(runs.keep_connected())
        async with asyncio.timeout(5):
            while not until():
                await asyncio.sleep(0.01)
        keeping.cancel()

    asyncio.run(main())


def test_runs_of_processes_that_die_later_are_closed_too(
    runs: PrefectRuns, server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a Prefect worker that is killed while service and server stay up."""
    monkeypatch.setattr(prefect_runs, "DEAD_SECONDS", 0.0)
    monkeypatch.setattr(prefect_leftovers, "is_gone", lambda mark: True)
    connected(runs)
    dead = SimpleNamespace(id=uuid4(), name="d.fits", tags=["nightflow", "process:dead"])
    server.at_work = [dead]
    keep_connected(runs, until=lambda: bool(server.set_states))
    assert server.set_states[0] == (dead.id, "Crashed")


def test_a_server_that_goes_away_between_two_frames_is_seen(
    runs: PrefectRuns, server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_runs, "DEAD_SECONDS", 0.0)
    connected(runs)
    server.fault = httpx.ConnectError("refused")
    keep_connected(runs, until=lambda: not runs.here)


def test_an_exposure_is_a_pending_run_that_is_executed_here(runs: PrefectRuns, server: Server) -> None:
    run_id = reduce(connected(runs))
    [(key, run)] = server.runs.items()
    assert key == "abc:plan3:1"
    assert run_id == str(run.id)
    assert (run.name, run.tags, run.state.name) == ("d1047.fits", ["ledger-1"], "Pending")
    [(flow, executed, parameters)] = server.executed
    assert (flow, executed.id) == ("ingest-exposure", run.id)
    assert executed.deployment_id is None, "else Prefect blocks the event loop while the server is away"
    assert parameters == {"exposure_id": 3, "path": "/incoming/d1047.fits"}


@pytest.mark.parametrize("ended", [Completed(), Running()])
def test_the_same_plan_once_more_is_a_new_run(runs: PrefectRuns, server: Server, ended: Any) -> None:
    connected(runs)
    first = reduce(runs)
    server.runs["abc:plan3:1"].state = ended
    second = reduce(runs)
    assert first != second
    assert len(server.executed) == 2


def test_a_pending_run_that_nobody_executes_is_taken_up(runs: PrefectRuns, server: Server) -> None:
    connected(runs)
    first = reduce(runs)
    server.runs["abc:plan3:1"].state = Pending()
    assert reduce(runs) == first


def unreached() -> RuntimeError:
    """Return what the client makes of a refused connection."""
    error = RuntimeError("Failed to reach API at ...")
    error.__cause__ = httpx.ConnectError("refused")
    return error


def answered(status: int) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:1/api")
    return PrefectHTTPStatusError(
        f"status {status}", request=request, response=httpx.Response(status, request=request)
    )


@pytest.mark.parametrize(
    "fault",
    [httpx.ConnectError("refused"), TimeoutError(), ConnectionResetError(), unreached(), answered(503)],
)
def test_a_server_that_went_away_is_said_once(
    runs: PrefectRuns, server: Server, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    connected(runs)
    server.fault = fault
    assert reduce(runs) is None
    assert not runs.here
    assert reduce(runs) is None
    assert not asyncio.run(runs.connect())
    assert caplog.text.count("the night goes on without it") == 1


@pytest.mark.parametrize(
    "fault",
    [answered(422), ParameterTypeError("no such parameter"), RuntimeError("bug"), OSError("disk full")],
)
def test_a_fault_of_ours_is_not_called_an_absent_server(
    runs: PrefectRuns,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise fault

    connected(runs)
    monkeypatch.setattr(prefect_runs, "run_flow_async", fail)
    run = reduce(runs)
    assert runs.here, "the server is there"
    assert "without it" not in caplog.text
    [record] = [record for record in caplog.records if record.exc_info]
    assert "/incoming/d1047.fits" in record.message
    assert str(fault) in caplog.text
    assert server.set_states == [(UUID(run), "Crashed")], "no run is left pending for ever"


def test_a_server_that_cannot_be_used_is_said_with_its_traceback(
    runs: PrefectRuns, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.fault = answered(401)
    assert not asyncio.run(runs.connect())
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert reduce(runs) is None


def test_a_deployment_that_was_deleted_is_made_again(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgotten(*_: Any, **__: Any) -> Any:
        raise ObjectNotFound(Exception("404"))

    connected(runs)
    with monkeypatch.context() as patch:
        patch.setattr(server, "create_flow_run_from_deployment", forgotten)
        assert reduce(runs) is None
    assert not runs.here
    assert reduce(connected(runs)) is not None
    assert len(server.created) == 2


def test_a_server_that_dies_in_the_run_leaves_its_id(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: Any, **__: Any) -> Any:
        raise httpx.ConnectError("refused")

    connected(runs)
    monkeypatch.setattr(prefect_runs, "run_flow_async", die)
    assert reduce(runs) == str(server.runs["abc:plan3:1"].id)
    assert not runs.here
    assert runs._active == set()


def test_a_store_that_is_locked_is_no_server_that_is_away(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locked(reducer: Reducer, exposure_id: int) -> str:
        raise RetryLater("database is locked")

    connected(runs)
    monkeypatch.setattr(Reducer, "plan_of", locked)
    assert reduce(runs) is None
    assert runs.here
    assert "/incoming/d1047.fits: reduced without a run, its plan is not known: database is locked" in (
        caplog.text
    )
    assert "without it" not in caplog.text


def test_a_plan_that_takes_long_is_no_server_that_is_away(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_runs, "REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(Reducer, "plan_of", lambda reducer, exposure_id: time.sleep(0.5) or "plan3")
    assert reduce(connected(runs)) is not None
    assert runs.here


def test_a_server_that_hangs_as_it_is_asked_for_its_version_holds_no_frame_up(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is done once a process, as the client is entered."""

    async def hang(_: Server) -> Server:
        await asyncio.sleep(20)
        return server

    connected(runs)
    monkeypatch.setattr(prefect_runs, "REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(Server, "__aenter__", hang)
    assert reduce(runs) is None
    assert not runs.here


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path}/ledger.sqlite") as database:
        database.upgrade()
        monkeypatch.setattr(Reducer, "database", database, raising=False)
        yield database


def missed(runs: PrefectRuns, database: Database, number: int, at: datetime) -> int:
    """Reduce an exposure without a run."""
    exposure_id = receive(database, f"/in/{number}.fits", f"{number:064d}", 2880, now=at).exposure_id
    asyncio.run(runs.remember(exposure_id))
    settle_exposure(database, exposure_id, State.DONE, "", now=at)
    return exposure_id


def at(minute: int) -> datetime:
    return datetime(2026, 1, 2, 3, minute, tzinfo=UTC)


def test_a_catch_up_run_lists_what_was_missed_between_two_times(
    runs: PrefectRuns, server: Server, database: Database
) -> None:
    connected(runs)
    for number, minute in ((4, 7), (5, 9)):
        missed(runs, database, number, at(minute))
    asyncio.run(runs.catch_up())
    assert server.executed == [("catch-up", None, {"since": at(7), "until": at(9)})]
    assert server.named == [("2 exposures without a run, 03:07-03:09 UT", {"ledger-1"})]


def test_what_a_dead_service_reduced_without_a_run_is_listed_by_its_successor(
    runs: PrefectRuns, server: Server, database: Database
) -> None:
    missed(runs, database, 4, at(7))
    successor = PrefectRuns(Reducer(), identity="ledger-1")  # type: ignore[arg-type]
    connected(successor)
    asyncio.run(successor.catch_up())
    assert [name for name, _, _ in server.executed] == ["catch-up"]


def test_where_nothing_was_missed_there_is_no_catch_up_run(
    runs: PrefectRuns, server: Server, database: Database
) -> None:
    receive(database, "/in/3.fits", "3" * 64, 2880, now=at(1))
    asyncio.run(connected(runs).catch_up())
    assert server.executed == []


def test_without_an_address_nothing_waits_for_a_catch_up_run(
    runs: PrefectRuns, server: Server, database: Database
) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        missed(runs, database, 4, at(7))
    asyncio.run(connected(runs).catch_up())
    assert server.executed == []


def test_what_is_not_at_its_end_is_listed_when_it_is(
    runs: PrefectRuns, server: Server, database: Database
) -> None:
    exposure_id = receive(database, "/in/3.fits", "3" * 64, 2880, now=at(1)).exposure_id
    asyncio.run(connected(runs).remember(exposure_id))
    asyncio.run(runs.catch_up())
    assert server.executed == []
    settle_exposure(database, exposure_id, State.HELD, "no flat", now=at(2))
    asyncio.run(runs.catch_up())
    assert [name for name, _, _ in server.executed] == ["catch-up"]


def test_a_catch_up_run_waits_for_what_is_in_work(
    runs: PrefectRuns, server: Server, database: Database
) -> None:
    missed(runs, database, 4, at(7))
    last = receive(database, "/in/5.fits", "5" * 64, 2880, now=at(8)).exposure_id
    asyncio.run(connected(runs).remember(last))
    assert lease_exposure(database, last, "watch:dome:1", now=at(8), seconds=600) is not None

    async def main() -> None:
        catching_up = asyncio.create_task(runs.catch_up())
        await asyncio.sleep(0.1)
        settle_exposure(database, last, State.DONE, "", now=at(9))
        await catching_up

    asyncio.run(main())
    assert server.executed == [("catch-up", None, {"since": at(7), "until": at(9)})]


@pytest.mark.parametrize(
    "fault",
    [Failed(message="no room"), httpx.ReadTimeout("no answer"), ValueError("a bug"), Abort("cancelled")],
    ids=["it failed", "no answer", "a bug", "somebody cancelled it"],
)
def test_a_catch_up_that_fails_is_made_again(
    runs: PrefectRuns, server: Server, database: Database, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        if isinstance(fault, BaseException):
            raise fault
        return fault

    monkeypatch.setattr(prefect_runs, "AGAIN_SECONDS", 0.0)
    exposure_id = missed(runs, database, 4, at(7))
    connected(runs)
    with monkeypatch.context() as patch:
        patch.setattr(prefect_runs, "run_flow_async", fail)
        asyncio.run(runs.catch_up())
    assert runs.here is not isinstance(fault, httpx.ReadTimeout)
    asyncio.run(connected(runs).catch_up())
    assert [name for name, _, _ in server.executed] == ["catch-up"]
    note_shown(database, [exposure_id], "a run")
    asyncio.run(runs.catch_up())
    assert len(server.executed) == 1


def test_what_got_no_run_while_the_server_was_there_is_shown_too(
    runs: PrefectRuns, server: Server, database: Database
) -> None:
    async def main() -> None:
        connection = asyncio.create_task(runs.keep_connected())
        await asyncio.sleep(0.05)
        assert server.executed == []
        exposure_id = receive(database, "/in/3.fits", "3" * 64, 2880, now=at(1)).exposure_id
        await runs.remember(exposure_id)
        settle_exposure(database, exposure_id, State.DONE, "", now=at(2))
        async with asyncio.timeout(10):
            while not server.executed:
                await asyncio.sleep(0.01)
        connection.cancel()

    connected(runs)
    asyncio.run(main())
    assert server.executed[0][0] == "catch-up"


def test_an_absent_server_is_looked_for_until_it_is_back(runs: PrefectRuns, server: Server) -> None:
    async def main() -> None:
        server.fault = httpx.ConnectError("refused")
        assert not await runs.connect()
        probing = asyncio.create_task(runs.keep_connected())
        await asyncio.sleep(0.05)
        assert not runs.here
        server.fault = None
        async with asyncio.timeout(5):
            while not runs.here:
                await asyncio.sleep(0.01)
        probing.cancel()

    asyncio.run(main())


def test_what_a_person_should_know_is_an_event_of_the_server(
    runs: PrefectRuns, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    posted: list[tuple[str, str, Any]] = []

    class Client:
        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def request(self, method: str, path: str, *, json: Any) -> None:
            posted.append((method, path, json))
            if len(posted) > 1:
                raise httpx.ConnectError("http://user:sesame@host/api is away")

    def client(**options: Any) -> Any:
        return Client() if options.get("sync_client") else server

    monkeypatch.setattr(prefect_runs, "get_client", client)
    runs.announce("zero_point", "not yet connected")
    connected(runs)
    runs.announce("zero_point", "V fell")
    ((method, path, [event]),) = posted
    assert (method, path) == ("POST", "/events")
    assert (event["event"], event["payload"]) == ("nightflow.zero_point", {"text": "V fell"})
    runs.announce("zero_point", "V fell more")
    assert "zero_point: not shown by the Prefect server: ConnectError" in caplog.text
    assert "sesame" not in caplog.text
