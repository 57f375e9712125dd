"""The story of one exposure, told by a reducer of straw; no server."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from PIL import Image

import flows.ingest as ingest
import flows.run_tags as run_tags
import tasks.lease as lease_module
import tasks.publish as publish_module
from nightflow.errors import FrameHeld, FrameRejected, MissingCalibration, RetryLater
from tasks.context import use_reducer

RUN = uuid4()
STEPS = ["calibrate", "measure", "solve", "flux", "append"]


class Straw:
    """Writes down what it is asked to do; fails where it is told to."""

    def __init__(self) -> None:
        self.kind = "light"
        self.frame_ids: tuple[int, ...] = (7,)
        self.faults: dict[Any, Exception] = {}
        self.story: list[Any] = []
        self.settled: dict[int, BaseException | None] = {}
        self.concluded: list[BaseException | None] = []
        self.worker: str | None = "run:dome:1"
        self.database = SimpleNamespace(leased_by=None)
        self.given_back: list[int] = []
        self.is_lost = False
        self.forgotten: list[int] = []

    def identify(self, exposure_id: int, *, worker: str) -> Any:
        assert worker == self.worker, "else what it writes is not bound to the lease"
        if "identify" in self.faults:
            raise self.faults["identify"]
        return SimpleNamespace(
            exposure_id=exposure_id, path="/d1047.fits", kind=self.kind, frame_ids=self.frame_ids,
            title="d1047.fits PG1323-086 V", tags=("camera:tinycam", "filter:V"),
        )  # fmt: skip

    def perform(self, frame_id: int, step: str) -> dict[str, Any]:
        self.story.append((frame_id, step))
        if (frame_id, step) in self.faults:
            raise self.faults[frame_id, step]
        return {"step": step}

    def forget(self, exposure_id: int) -> None:
        self.forgotten.append(exposure_id)

    def products(self, frame_id: int) -> dict[str, str]:
        assert not self.forgotten
        self.story.append((frame_id, "products"))
        return {"thumbnail": f"/{frame_id}.png"}

    def settle_frame(self, frame_id: int, error: BaseException | None = None) -> str:
        self.settled[frame_id] = error
        return "lost" if self.is_lost else "done"

    def conclude(self, exposure_id: int, error: BaseException | None, worker: str) -> Any:
        self.concluded.append(error)
        assert self.database.leased_by == worker == self.worker
        return SimpleNamespace(
            exposure_id=exposure_id, path="/d1047.fits", state="done", reason="", seconds=1.5
        )

    def frame_summary(self, frame_id: int) -> dict[str, Any]:
        return {"path": "/d1047.fits", "object": "PG1323-086", "filter": "V", "state": "done", "fwhm_px": 3.1}


@pytest.fixture
def reducer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Straw]:
    straw = Straw()

    def hold(database: Any, exposure_id: int) -> str | None:
        database.leased_by = straw.worker
        return straw.worker

    monkeypatch.setattr(lease_module, "hold", hold)
    monkeypatch.setattr(
        lease_module, "hand_back", lambda _, exposure_id: straw.given_back.append(exposure_id)
    )
    use_reducer(straw)  # type: ignore[arg-type]
    yield straw
    use_reducer(None)


@pytest.fixture(autouse=True)
def cards(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The tasks as the plain functions they wrap, and the artifacts that were made."""
    made: dict[str, str] = {}

    async def make(markdown: str, key: str, description: str) -> None:
        made[key] = markdown

    monkeypatch.setattr(publish_module, "acreate_markdown_artifact", make)
    for name in ("lease", "identify", *STEPS, "products", "publish", "settle", "conclude"):
        monkeypatch.setattr(ingest, name, getattr(ingest, name).fn)
    return made


def reduce_one() -> Any:
    return asyncio.run(ingest.reduce_one(3))


def test_a_light_takes_all_steps_in_order(reducer: Straw, cards: dict[str, str]) -> None:
    assert reduce_one().state == "done"
    assert reducer.story == [(7, step) for step in (*STEPS, "products")]
    assert reducer.settled == {7: None}
    assert reducer.concluded == [None]
    assert reducer.forgotten == [3]
    assert "PG1323\\-086" in cards["frame-7"]


@pytest.mark.parametrize("fault", [None, ValueError("the lease is lost")])
def test_what_another_process_has_by_now_is_not_shown(
    reducer: Straw, cards: dict[str, str], fault: Exception | None
) -> None:
    reducer.is_lost = True
    if fault is not None:
        reducer.faults[7, "append"] = fault
    reduce_one()
    assert reducer.story == [(7, step) for step in STEPS]
    assert cards == {}


@pytest.mark.parametrize("kind", ["bias", "dark", "flat", "unknown"])
def test_other_frames_take_no_steps_they_are_settled_as_they_are_identified(
    reducer: Straw, cards: dict[str, str], kind: str
) -> None:
    reducer.kind = kind
    reduce_one()
    assert reducer.story == []
    assert reducer.settled == {}
    assert reducer.concluded == [None]
    assert cards == {}


def test_garbage_is_concluded_with_its_error(reducer: Straw) -> None:
    reducer.faults["identify"] = FrameRejected("d1047.fits: no pixels")
    reduce_one()
    assert reducer.concluded == [reducer.faults["identify"]]
    assert reducer.story == []


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "fault",
    [
        FrameRejected("trailed"),
        MissingCalibration("no flat"),
        RetryLater("catalogue away"),
        ValueError("bug"),
    ],
)
def test_a_fault_ends_the_frame_there_and_is_settled(
    reducer: Straw, cards: dict[str, str], step: str, fault: Exception
) -> None:
    reducer.faults[7, step] = fault
    reduce_one()
    assert [done for _, done in reducer.story] == STEPS[: STEPS.index(step) + 1]
    assert reducer.settled == {7: fault}
    assert reducer.concluded == [None]
    assert "frame-7" in cards, "a frame that failed is shown too"


@pytest.mark.parametrize(
    ("state", "reason", "shown"),
    [
        ("reducing", "", ("busy", "watch:dome:7 has it")),
        ("duplicate", "same content", ("duplicate", "same content")),
        ("failed", "3 workers died of it", ("failed", "3 workers died of it")),
    ],
)
def test_what_cannot_be_leased_is_left_alone(
    reducer: Straw, monkeypatch: pytest.MonkeyPatch, state: str, reason: str, shown: tuple[str, str]
) -> None:
    exposure = SimpleNamespace(
        path="/d1047.fits", state=state, reason=reason, leased_by="watch:dome:7", attempts=3, service_deaths=0
    )
    monkeypatch.setattr(lease_module, "get_exposure", lambda _, exposure_id: exposure)
    reducer.worker = None
    outcome = reduce_one()
    assert (outcome.state, outcome.reason) == shown
    assert reducer.story == reducer.concluded == []


def test_what_is_not_concluded_is_handed_back(reducer: Straw) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RetryLater("the store is locked")

    reducer.conclude = broken  # type: ignore[method-assign]
    with pytest.raises(RetryLater):
        reduce_one()
    assert reducer.given_back == [3]


def test_what_cannot_be_leased_for_want_of_a_server_is_handed_back(
    reducer: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share has leased it before; its process lives on, and others would wait for ten minutes."""

    async def away(exposure_id: int) -> str:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(ingest, "lease", away)
    with pytest.raises(httpx.ConnectError):
        reduce_one()
    assert reducer.given_back == [3]


def test_a_chip_that_cannot_be_settled_ends_the_run_when_all_chips_have_ended(
    reducer: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the second attempt, without a run, would meet them."""
    reducer.frame_ids = (7, 8)
    monkeypatch.setattr(ingest, "FRAMES_AT_ONCE", 2)
    failed = threading.Event()

    def settle(frame_id: int, error: BaseException | None = None) -> str:
        if frame_id == 7:
            failed.set()
            raise RetryLater("the store is locked")
        reducer.settled[frame_id] = error
        return "done"

    def perform(frame_id: int, step: str) -> dict[str, Any]:
        if frame_id == 8:
            assert failed.wait(10)
        reducer.story.append((frame_id, step))
        return {}

    reducer.settle_frame = settle  # type: ignore[method-assign]
    reducer.perform = perform  # type: ignore[method-assign]
    monkeypatch.setattr(lease_module, "hand_back", lambda *_: reducer.story.append("handed back"))
    with pytest.raises(RetryLater):
        reduce_one()
    assert reducer.settled == {8: None}
    assert (8, "append") in reducer.story
    assert reducer.story[-1] == "handed back"


def test_one_chip_of_a_mosaic_does_not_stop_the_others(reducer: Straw) -> None:
    reducer.frame_ids = (7, 8, 9)
    reducer.faults[8, "solve"] = FrameHeld("no solution")
    reduce_one()
    assert reducer.settled == {7: None, 8: reducer.faults[8, "solve"], 9: None}
    assert {frame for frame, step in reducer.story if step == "products"} == {7, 9}


@pytest.mark.parametrize("fault", [httpx.ConnectError("refused"), TimeoutError()])
def test_an_absent_server_costs_the_card_and_nothing_else(
    reducer: Straw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(publish_module, "acreate_markdown_artifact", refuse)
    monkeypatch.setattr(publish_module, "get_run_logger", lambda: logging.getLogger("tests.publish"))
    assert reduce_one().state == "done"
    assert reducer.settled == {7: None}
    assert "frame 7: no artifact" in caplog.text


def test_the_picture_is_that_of_the_products(reducer: Straw, cards: dict[str, str], tmp_path: Path) -> None:
    picture = tmp_path / "thumb.png"
    Image.new("L", (8, 8)).save(picture)
    reducer.products = lambda frame_id: {"thumbnail": str(picture)}  # type: ignore[method-assign]
    reduce_one()
    assert "data:image/jpeg;base64," in cards["frame-7"]


def in_a_run(monkeypatch: pytest.MonkeyPatch, update: Callable[..., Awaitable[None]]) -> None:
    """Let the flow believe that a run of the server shows it, whose name is set by this."""

    class Client:
        async def __aenter__(self) -> Client:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        async def update_flow_run(self, run_id: UUID, **values: Any) -> None:
            await update(run_id, **values)

    run = SimpleNamespace(id=str(RUN), tags=["ledger-1", "mine"])
    monkeypatch.setattr(ingest, "runtime", SimpleNamespace(flow_run=run))
    monkeypatch.setattr(run_tags, "get_client", Client)


def test_no_frame_waits_for_the_name_of_its_run(reducer: Straw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the server says to it: the frame is settled, and its products are written."""

    asked: list[UUID] = []

    async def refused_at_last(run_id: UUID, **values: Any) -> None:
        while not reducer.concluded:
            await asyncio.sleep(0.01)
        asked.append(run_id)
        raise RuntimeError("the client is closed")

    in_a_run(monkeypatch, refused_at_last)
    assert reduce_one().state == "done"
    assert (7, "products") in reducer.story
    assert asked == [RUN]


def test_a_run_gets_its_name_and_its_tags_and_keeps_those_it_has(
    reducer: Straw, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[tuple[UUID, dict[str, Any]]] = []

    async def update(run_id: UUID, **values: Any) -> None:
        updates.append((run_id, values))

    in_a_run(monkeypatch, update)
    reduce_one()
    [(run_id, values)] = updates
    assert (run_id, values["name"]) == (RUN, "d1047.fits PG1323-086 V")
    assert set(values["tags"]) == {"ledger-1", "mine", "camera:tinycam", "filter:V"}
