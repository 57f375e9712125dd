"""Some chips of an exposure reduced again, and the others left as they are."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nightflow.errors import NoSolution
from nightflow.pipeline import reducer as reducer_module
from nightflow.pipeline import run as run_module
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.run import reduce_all, reduce_chips
from nightflow.pipeline.unchanged import is_current
from nightflow.store.frames import frames_of
from nightflow.store.ledger import requeue
from nightflow.store.models import Priority
from tests.unit.pipeline.station import PROFILE, Station, entered, exposure, reduced, steps_of_straw

Story = list[tuple[int, str]]


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    return steps_of_straw(monkeypatch)


@pytest.fixture
def reducer(station: Station, story: Story) -> Reducer:
    return station.reducer()


def fail(monkeypatch: pytest.MonkeyPatch, detector: str, error: Exception | None) -> None:
    """Let `solve` end so on one chip, from now on."""

    def solve(work, context):
        if work.header.detector == detector and error is not None:
            raise error
        return {}

    monkeypatch.setitem(reducer_module._WORKERS, "solve", solve)


def frames(reducer: Reducer, exposure_id: int) -> dict[str, str]:
    return {frame.detector: frame.state for frame in frames_of(reducer.database, exposure_id)}


def again(reducer: Reducer, exposure_id: int, story: Story, *chips: int) -> list[int] | None:
    """Reduce chips again; return which were, None where it was refused."""
    story.clear()
    rows = [frame.id or 0 for frame in frames_of(reducer.database, exposure_id)]
    done = reduce_chips(reducer, exposure_id, [rows[chip] for chip in chips], reducer.products)
    return None if done is None else sorted({rows.index(row) for row, _ in story})


def test_only_those_and_the_held_ones(
    station: Station, reducer: Reducer, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "chip2", NoSolution("clouds", []))
    light = reduced(reducer, station.frame("light.fits", chips=4))
    assert light.state == "held"
    assert again(reducer, light.exposure_id, story, 0) == [0, 2]
    assert sorted(frames(reducer, light.exposure_id).values()) == ["done", "done", "done", "held"]
    assert exposure(reducer, light.exposure_id).waits_for == "wcs"
    fail(monkeypatch, "chip2", None)
    assert again(reducer, light.exposure_id, story, 1) == [1, 2]
    assert set(frames(reducer, light.exposure_id).values()) == {"done"}
    assert exposure(reducer, light.exposure_id).state == "done"


def test_a_chip_that_always_fails_does_not_shut_the_others_out(
    station: Station, reducer: Reducer, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "chip1", ValueError("a bug"))
    light = reduced(reducer, station.frame("light.fits", chips=3))
    assert light.state == "failed"
    assert again(reducer, light.exposure_id, story, 0, 2) == [0, 2]
    assert exposure(reducer, light.exposure_id).state == "failed"
    assert "a bug" in exposure(reducer, light.exposure_id).reason


def test_what_was_queued_meanwhile_is_left_to_whoever_takes_it(
    station: Station, reducer: Reducer, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its frames count as received then: none may be passed over."""
    light = reduced(reducer, station.frame("light.fits", chips=2))
    real = run_module.is_current

    def queued_just_then(*arguments) -> bool:
        answer = real(*arguments)
        requeue(reducer.database, [light.exposure_id], priority=Priority.REDO, now=datetime.now(UTC))
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "is_current", queued_just_then)
        assert again(reducer, light.exposure_id, story, 0) is None
    assert exposure(reducer, light.exposure_id).state == "received"
    assert not is_current(reducer, light.exposure_id)
    reduce_all(reducer, [light.exposure_id])
    assert set(frames(reducer, light.exposure_id).values()) == {"done"}


def test_chips_of_another_plan_are_not_mixed(station: Station, reducer: Reducer, story: Story) -> None:
    light = reduced(reducer, station.frame("light.fits", chips=2))
    station.set_profile(PROFILE + "\n[trails]\nmaximum_count = 7\n")
    assert again(station.reducer(), light.exposure_id, story, 0) is None
    assert exposure(reducer, light.exposure_id).state == "done"


def test_what_the_live_service_left_held_is_no_other_plan(
    station: Station, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "chip1", NoSolution("clouds", []))
    live = station.reducer(missing_calibration="hold", definitive_masters=False)
    light = reduced(live, station.frame("light.fits", chips=2))
    assert light.state == "held"
    assert again(station.reducer(), light.exposure_id, story, 0) == [0, 1]


def test_an_interrupted_one_is_whole_again_at_the_next_run(
    station: Station, reducer: Reducer, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    light = reduced(reducer, station.frame("light.fits", chips=2))

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "reduce_exposure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            again(reducer, light.exposure_id, story, 0)
    assert exposure(reducer, light.exposure_id).state == "received"
    assert exposure(reducer, light.exposure_id).leased_by is None
    reduce_all(reducer, [entered(reducer, station.raw / "light.fits")])
    assert len({row for row, _ in story}) == 2
