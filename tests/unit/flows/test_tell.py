"""What is told of a run that crashed: the ledger knows better than the run."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.objects import State as RunState
from prefect.utilities.schema_tools.hydration import HydrationContext, hydrate

import flows.tell as tell_module
import tasks.send_message as task_module
from flows.tell import tell
from nightflow.service.prefect_deployments import _automations
from nightflow.store.database import Database
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import State
from tests.unit.store.builders import later, sha


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was sent."""
    sent: list[str] = []

    async def send(event: str, text: str, only_at_night: bool) -> str:
        sent.append(f"{event}: {text}")
        return "sent"

    monkeypatch.setattr(tell_module, "send_message", send)
    monkeypatch.setattr(tell_module, "doubts", task_module.doubts.fn)
    monkeypatch.setattr(task_module, "get_run_logger", lambda: logging.getLogger("tests"))
    return sent


def told_of(exposure_id: int | None) -> str:
    state = asyncio.run(tell.fn("failed_frames", "a.fits failed", if_failed=exposure_id))
    assert state.is_completed()
    return str(state.message)


@pytest.fixture
def exposure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Database, int]:
    """A ledger with an exposure in the queue, and settings that name it."""
    settings = tmp_path / "nightflow.toml"
    settings.touch()
    monkeypatch.setenv("NIGHTFLOW_CONFIG", str(settings))
    database = Database(f"sqlite:///{tmp_path / 'nightflow.sqlite'}")
    database.upgrade()
    return database, receive(database, "/raw/a.fits", sha("a"), 1, now=later(0)).exposure_id


@pytest.mark.parametrize("state", [State.RECEIVED, State.DONE, State.HELD, State.FAILED])
def test_of_a_crashed_run_is_told_only_where_its_exposure_has_failed(
    exposure: tuple[Database, int], said: list[str], state: State
) -> None:
    database, exposure_id = exposure
    if state != State.RECEIVED:
        settle_exposure(database, exposure_id, state, "why", now=later(1))
    if state == State.FAILED:
        assert told_of(exposure_id) == "sent"
        assert said == ["failed_frames: a.fits failed"]
    else:
        assert told_of(exposure_id) == f"not told: the ledger has /raw/a.fits as {state}"
        assert said == []


def test_where_no_exposure_is_named_the_ledger_is_not_asked(said: list[str]) -> None:
    assert told_of(None) == "sent"


def test_where_the_ledger_cannot_be_asked_it_is_told(
    exposure: tuple[Database, int],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, exposure_id = exposure
    assert told_of(exposure_id + 1) == "sent", "the ledger does not know it"
    monkeypatch.setenv("NIGHTFLOW_STORE__URL", f"sqlite:///{tmp_path / 'away' / 'nightflow.sqlite'}")
    assert told_of(exposure_id) == "sent"
    monkeypatch.setenv("NIGHTFLOW_CONFIG", str(tmp_path / "none.toml"))
    assert told_of(exposure_id) == "sent"
    assert len(said) == 3
    assert caplog.text.count(f"exposure {exposure_id}: the ledger cannot be asked") == 2


@pytest.mark.parametrize(
    ("kind", "parameters", "asked"),
    [
        (StateType.CRASHED, {"exposure_id": 12, "path": "/raw/a.fits"}, 12),
        (StateType.FAILED, {"exposure_id": 12, "path": "/raw/a.fits"}, None),
        (StateType.CRASHED, {}, None),
    ],
)
def test_the_automation_names_the_exposure_of_a_run_that_crashed(
    kind: StateType, parameters: dict[str, Any], asked: int | None
) -> None:
    run = FlowRun(
        flow_id=uuid4(), name="a.fits", parameters=parameters, state=RunState(type=kind, message="away")
    )
    [automation] = [one for one in _automations(uuid4(), uuid4(), 20.0) if "failed" in one.name]
    context = HydrationContext(jinja_context={"flow_run": run}, render_jinja=True, raise_on_error=True)
    rendered = hydrate(automation.actions[0].parameters, context)  # type: ignore[union-attr,arg-type]
    assert rendered["if_failed"] == asked
    assert rendered["text"] == "a.fits failed: away"
