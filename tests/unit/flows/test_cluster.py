"""Shares on a Dask cluster that is not there, has no workers, or loses one."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed, Crashed, Failed, Running

import flows.cluster as cluster_module
import tasks.share as share_tasks
from flows.cluster import share_on_cluster, shares_on
from nightflow.config import Settings, StoreSettings
from nightflow.errors import ConfigurationError
from nightflow.service.prefect_leftovers import PAGE

ADDRESS = "tcp://10.0.0.5:8786"
LEDGER = "ledger-0123"
WORKERS = ["tcp://10.0.0.6:4001", "tcp://10.0.0.7:4001"]


class Share:
    """A future, as far as it is asked; ``answer`` is what it ends with, or what asking raises."""

    def __init__(self, status: str, answer: State[None] | Exception) -> None:
        self.status = status
        self.answer = answer

    def exception(self, timeout: float) -> Exception:
        return RuntimeError("killed four workers")

    def result(self, timeout: float) -> State[None]:
        assert self.status == "finished", "it would wait"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Client:
    """A cluster's client; ``fault`` is what connecting ends with, ``lost`` what all ends with after that."""

    workers: ClassVar[list[str]] = []
    fault: ClassVar[Exception | None] = None
    lost: ClassVar[Exception | None] = None
    answer: ClassVar[State[None] | Exception] = Completed()
    statuses: ClassVar[list[str]] = []
    made: ClassVar[list[Client]] = []

    def __init__(self, address: str, timeout: float, set_as_default: bool) -> None:
        assert address == ADDRESS
        assert not set_as_default, "what else in this process uses Dask is none of its business"
        if self.fault is not None:
            raise self.fault
        self.submitted: list[dict[str, Any]] = []
        self.closed = False
        self.made.append(self)

    def nthreads(self) -> dict[str, int]:
        if self.lost is not None:
            raise self.lost
        return dict.fromkeys(self.workers, 1)

    def submit(self, task: Any, **options: Any) -> Share:
        assert task is share_on_cluster
        self.submitted.append(options)
        return Share(self.statuses[len(self.submitted) - 1], self.answer)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    """The client's class, of which prefect-dask is nothing but a module; its runs are closed by nobody."""
    made = type("Client", (Client,), {"made": [], "workers": [], "statuses": []})
    module = ModuleType("prefect_dask")
    module.PrefectDaskClient = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "prefect_dask", module)
    monkeypatch.setattr(cluster_module, "runtime", SimpleNamespace(flow_run=SimpleNamespace(id="7")))
    monkeypatch.setattr(cluster_module, "get_run_logger", lambda: logging.getLogger("of the run"))
    monkeypatch.setattr(cluster_module, "ledger_tag", lambda: LEDGER)
    monkeypatch.setattr(cluster_module, "END_SECONDS", 1.0)
    monkeypatch.setattr(cluster_module, "LOOKED_AFTER_SECONDS", 0.001)
    return made


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The marks under which runs that were left are closed."""
    marks: list[str] = []

    async def close(mark: str) -> None:
        marks.append(mark)

    monkeypatch.setattr(cluster_module, "_close_left_runs", close)
    return marks


async def whether_at_work() -> bool:
    async with shares_on(ADDRESS) as at_work:
        return at_work()


def test_each_worker_gets_a_share_that_may_go_to_another(client: type[Client], closed: list[str]) -> None:
    client.workers, client.statuses = WORKERS, ["finished", "finished"]
    assert not asyncio.run(whether_at_work())
    [made] = client.made
    assert [one["workers"] for one in made.submitted] == [[worker] for worker in WORKERS]
    assert [one["parameters"] for one in made.submitted] == [
        {"number": n, "of": 2, "ledger": LEDGER} for n in (1, 2)
    ]
    assert all(one["allow_other_workers"] for one in made.submitted), (
        "that of a dead worker would wait for ever"
    )
    assert made.closed
    assert closed == ["shared by 7"]


def test_a_share_that_does_not_end_is_left_alone(
    client: type[Client],
    closed: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_module, "END_SECONDS", 0.05)
    client.workers, client.statuses = WORKERS, ["finished", "pending"]
    assert asyncio.run(whether_at_work())
    assert client.made[0].closed
    assert closed == [], "its runs may be at work"
    assert "have not ended" in caplog.text
    assert "another backfill" in caplog.text, "its share may have gone on with that"


def test_a_share_that_killed_its_workers_is_told(
    client: type[Client], closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.workers, client.statuses = WORKERS, ["finished", "error"]
    assert not asyncio.run(whether_at_work())
    assert "share 2 of 2 on the cluster ended early: killed four workers" in caplog.text
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        ("finished", Failed(message="no settings file"), "ended as Failed: no settings file"),
        ("finished", Crashed(message="no server"), "ended as Crashed: no server"),
        ("finished", ImportError("of another version"), "ended, nobody knows how: ImportError: of another"),
        ("cancelled", Completed(), "is cancelled: the scheduler went away"),
        ("lost", Completed(), "is lost: the scheduler went away"),
    ],
)
def test_a_share_that_did_nothing_is_told_while_the_backfill_is_at_work(
    client: type[Client],
    closed: list[str],
    caplog: pytest.LogCaptureFixture,
    status: str,
    answer: State[None] | Exception,
    said: str,
) -> None:
    client.workers, client.statuses, client.answer = WORKERS[:1], [status], answer

    async def told() -> None:
        async with shares_on(ADDRESS) as at_work, asyncio.timeout(5):
            assert not at_work(), "this machine would leave its exposures to nobody"
            while not caplog.text:
                await asyncio.sleep(0.001)

    asyncio.run(told())
    assert f"share 1 of 1 on the cluster {said}" in caplog.text


def test_shares_that_ended_well_are_not_told(
    client: type[Client], closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.workers, client.statuses = WORKERS, ["finished", "finished"]
    asyncio.run(whether_at_work())
    assert caplog.text == ""


def test_all_runs_that_died_are_closed_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [SimpleNamespace(id=number, name="d.fits", state=Running()) for number in range(2 * PAGE + 50)]
    ended: list[int] = []

    class Server:
        async def read_flow_runs(self, flow_run_filter: Any, limit: int = 200, offset: int = 0) -> list[Any]:
            assert flow_run_filter.tags.all_ == ["shared by 7"]
            return [run for run in runs if run.id not in ended][offset : offset + min(limit, 200)]

        async def read_flow_run(self, run_id: int) -> Any:
            return next(run for run in runs if run.id == run_id)

        async def set_flow_run_state(self, run_id: int, state: State[None], force: bool) -> None:
            assert state.is_crashed()
            ended.append(run_id)

    @asynccontextmanager
    async def server() -> AsyncIterator[Server]:
        yield Server()

    monkeypatch.setattr(cluster_module, "get_client", server)
    asyncio.run(cluster_module._close_left_runs("shared by 7"))
    assert sorted(ended) == [run.id for run in runs]


def test_a_worker_of_another_ledger_refuses_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(url: str) -> None:
        store = StoreSettings(url=url)
        reducer = SimpleNamespace(settings=Settings(root=Path("/obs"), store=store))
        monkeypatch.setattr(share_tasks, "current_reducer", lambda: reducer)

    done: list[bool] = []

    async def share(return_state: bool) -> State[None]:
        done.append(return_state)
        return Completed()

    monkeypatch.setattr(cluster_module, "share", share)
    settings("postgresql+psycopg://me:secret@db/nightflow")
    ledger = cluster_module.ledger_tag()
    assert asyncio.run(share_on_cluster.fn(1, 1, ledger)).is_completed()
    settings("postgresql+psycopg://me:secret@db/another")
    with pytest.raises(
        ConfigurationError, match=r"url = '.*me:\*\*\*@db/another'.*not the ledger of the backfill"
    ):
        asyncio.run(share_on_cluster.fn(1, 1, ledger))
    assert done == [True]


def test_a_cluster_that_is_away_is_told_and_done_without(
    client: type[Client], closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.fault = OSError("Timed out trying to connect")
    assert not asyncio.run(whether_at_work())
    for said in ("dask_address", ADDRESS, "goes on on this machine", "dask scheduler", "Timed out"):
        assert said in caplog.text
    assert client.made == []


def test_a_scheduler_that_dies_once_it_is_connected_is_told_and_done_without(
    client: type[Client], closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.lost = OSError("connection closed")
    assert not asyncio.run(whether_at_work())
    assert "goes on on this machine" in caplog.text
    assert "connection closed" in caplog.text
    assert client.made[0].closed


def test_a_cluster_without_workers_is_told_and_done_without(
    client: type[Client], closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert not asyncio.run(whether_at_work())
    assert f"dask worker {ADDRESS}" in caplog.text
    assert client.made[0].submitted == []
    assert client.made[0].closed


@pytest.mark.parametrize("fault", [ValueError("invalid address"), TypeError("invalid address of TLS")])
def test_what_is_no_address_is_refused(client: type[Client], fault: Exception) -> None:
    client.fault = fault
    with pytest.raises(ConfigurationError, match=r"dask_address = 'tcp://10.*invalid address.*HOST:8786"):
        asyncio.run(whether_at_work())
