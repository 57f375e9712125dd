"""Tags that say which process executes a run."""

from __future__ import annotations

import asyncio
import importlib
import logging
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.logging import get_logger
from prefect.states import Running

import flows.run_tags as run_tags
from flows.run_tags import tag_process, tags_here
from nightflow.service.prefect_leftovers import TAG
from nightflow.service.process_mark import is_gone, is_mark, own_mark
from tests.unit.flows.test_deployments import DEPLOYMENTS


class Client:
    """Takes note of the tags that a run is given; fails where it is told to."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.given: dict[UUID, list[str]] = {}

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def update_flow_run(self, run_id: UUID, *, tags: list[str]) -> None:
        if self.fault is not None:
            raise self.fault
        self.given[run_id] = tags


def run_with(*tags: str) -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), tags=list(tags))


def enter_running(run: FlowRun) -> None:
    asyncio.run(tag_process(None, run, Running()))  # type: ignore[arg-type]


def test_a_run_tells_its_process_in_the_place_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run of another process, or one that is tried again, hands its tags on."""
    client = Client()
    monkeypatch.setattr(run_tags, "get_client", lambda: client)
    run = run_with("mine", "process:dome:a:b:1:2:3")
    enter_running(run)
    assert set(client.given[run.id]) == {"mine", TAG, own_mark()}
    [mark] = [tag for tag in client.given[run.id] if is_mark(tag)]
    assert not is_gone(mark)


def test_a_run_of_the_live_service_costs_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is on the way of each live frame."""
    client = Client()
    monkeypatch.setattr(run_tags, "get_client", lambda: client)
    enter_running(run_with("ledger-0123456789ab", "nightflow"))
    assert client.given == {}


def test_a_run_of_the_live_service_has_no_mark() -> None:
    assert tags_here(["ledger-0123456789ab", "nightflow"]) == ["ledger-0123456789ab", "nightflow"]


@pytest.mark.parametrize("fault", [httpx.ConnectError("refused"), TimeoutError(), RuntimeError("no server")])
def test_a_mark_that_cannot_be_left_is_told_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    monkeypatch.setattr(run_tags, "get_client", lambda: Client(fault))
    monkeypatch.setattr(run_tags, "log", logging.getLogger("of the flows"))
    enter_running(run_with("mine"))
    assert f"has no mark of its process: {type(fault).__name__}" in caplog.text


def test_a_server_that_refuses_a_mark_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request = httpx.Request("PATCH", "http://dome:sesame@prefect.local/api/flow_runs/1")
    with pytest.raises(httpx.HTTPStatusError) as refused:
        httpx.Response(401, request=request).raise_for_status()
    assert "sesame" in str(refused.value)
    monkeypatch.setattr(run_tags, "get_client", lambda: Client(refused.value))
    monkeypatch.setattr(run_tags, "log", logging.getLogger("of the flows"))
    enter_running(run_with("mine"))
    assert "has no mark of its process: HTTPStatusError: Client error '401 Unauthorized'" in caplog.text
    assert "sesame" not in caplog.text


def deployed() -> list[str]:
    entries = yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text())["deployments"]
    return [one["entrypoint"] for one in entries]


@pytest.mark.parametrize(
    "entrypoint",
    [*deployed(), "flows.backfill.backfill_batch", "flows.share.share_batch"],
)
def test_every_flow_of_a_worker_tells_its_process(entrypoint: str) -> None:
    module, _, name = entrypoint.rpartition(".")
    flow: Flow[..., Any] = getattr(importlib.import_module(module), name)
    assert flow.on_running_hooks == [tag_process]


@pytest.mark.parametrize("logger_name", ["engine", "flow_runs"])
@pytest.mark.parametrize(
    ("said", "is_told"),
    [
        ("Running hook 'tag_process' in response to entering state 'Running'", False),
        ("Hook 'tag_process' finished running successfully", False),
        ("An error was encountered while running hook 'tag_process'", True),
        ("Running hook 'another' in response to entering state 'Running'", True),
    ],
)
def test_the_hook_adds_no_lines_to_each_frame(said: str, is_told: bool, logger_name: str) -> None:
    logger = get_logger(logger_name)
    assert bool(logger.filter(logger.makeRecord(logger.name, logging.INFO, "", 0, said, (), None))) is is_told
