"""Shares on a Dask cluster that is not there, has no workers, or loses one."""

from __future__ import annotations

import asyncio
import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

import flows.cluster as cluster_module
from flows.cluster import share_on_cluster, shares_on
from nightflow.errors import ConfigurationError

ADDRESS = "tcp://10.0.0.5:8786"
WORKERS = ["tcp://10.0.0.6:4001", "tcp://10.0.0.7:4001"]


class Share:
    """A future, as far as it is asked."""

    def __init__(self, status: str) -> None:
        self.status = status

    def done(self) -> bool:
        return self.status != "pending"

    def exception(self) -> Exception:
        return RuntimeError("killed four workers")


class Client:
    """A cluster's client; ``fault`` is what connecting ends with."""

    workers: ClassVar[list[str]] = []
    fault: ClassVar[Exception | None] = None
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
        return dict.fromkeys(self.workers, 1)

    def submit(self, task: Any, **options: Any) -> Share:
        assert task is share_on_cluster
        self.submitted.append(options)
        return Share(self.statuses[len(self.submitted) - 1])

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
    monkeypatch.setattr(cluster_module, "END_SECONDS", 0.01)
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
    assert [one["parameters"] for one in made.submitted] == [{"number": n, "of": 2} for n in (1, 2)]
    assert all(one["allow_other_workers"] for one in made.submitted), (
        "that of a dead worker would wait for ever"
    )
    assert made.closed
    assert closed == ["shared by 7"]


def test_a_share_that_does_not_end_is_left_alone(
    client: type[Client], closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.workers, client.statuses = WORKERS, ["finished", "pending"]
    assert asyncio.run(whether_at_work())
    assert client.made[0].closed
    assert closed == [], "its runs may be at work"
    assert "have not ended" in caplog.text


def test_a_share_that_killed_its_workers_is_told(
    client: type[Client], closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.workers, client.statuses = WORKERS, ["finished", "error"]
    assert not asyncio.run(whether_at_work())
    assert "ended early: killed four workers" in caplog.text
    assert len(closed) == 1


def test_a_cluster_that_is_away_is_told_and_done_without(
    client: type[Client], closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.fault = OSError("Timed out trying to connect")
    assert not asyncio.run(whether_at_work())
    for said in ("dask_address", ADDRESS, "goes on on this machine", "dask scheduler", "Timed out"):
        assert said in caplog.text
    assert client.made == []


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
