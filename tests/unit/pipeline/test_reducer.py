"""One exposure from file to terminal state, its steps played by straw men."""

from __future__ import annotations

import errno
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from nightflow.config import ProductSettings
from nightflow.errors import ContentGone, FrameRejected, MissingCalibration, NoSolution, RetryLater
from nightflow.instruments.fits_file import content_hash
from nightflow.pipeline import conclusion as conclusion_module
from nightflow.pipeline import reducer as reducer_module
from nightflow.pipeline import waiting as waiting_module
from nightflow.pipeline.reduce_exposure import reduce_exposure
from nightflow.pipeline.reducer import STEPS, Reducer
from nightflow.pipeline.register import register
from nightflow.pipeline.run_lease import take_queued
from nightflow.store.consistency import disagreements
from nightflow.store.copies import move
from nightflow.store.frames import frames_of
from nightflow.store.leases import LeaseLost, lease, lease_exposure
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import Priority, State
from nightflow.store.overview import current_reduction, frame_rows
from tests.unit.pipeline.station import (
    PROFILE,
    START,
    Station,
    entered,
    exposure,
    only_frame,
    reduced,
    rows,
    steps_of_straw,
)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between tries are noted, not made."""
    noted: list[float] = []
    monkeypatch.setattr(time, "sleep", noted.append)
    return noted


NOTHING: tuple[dict[int, Any], ...] = ({}, {}, {}, {}, {})


def kept_by(reducer: Reducer) -> tuple[dict[int, Any], ...]:
    """What a reducer keeps of the exposures that it has in work."""
    conclusions = reducer._conclusions
    return (
        reducer._works,
        reducer._due,
        conclusions._opened,
        conclusions._ended,
        conclusions._verdicts,
    )


@pytest.fixture
def reducer(station: Station) -> Reducer:
    return station.reducer(clock=lambda: START)


def test_a_light_goes_through_all_steps_and_is_committed(
    station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = steps_of_straw(monkeypatch)
    outcome = reduced(reducer, station.frame("light.fits"))
    assert (outcome.state, outcome.reason) == ("done", "")
    assert [step for _, step in story] == ["calibrate", "measure", "solve", "flux"]
    frame = only_frame(reducer, outcome.exposure_id)
    assert frame.state == State.DONE
    reduction = current_reduction(reducer.database, frame.id or 0)
    assert reduction is not None
    assert list(reduction.timings) == ["calibrate", "measure", "solve", "flux"]
    concluded = exposure(reducer, outcome.exposure_id)
    assert (concluded.done_at, concluded.leased_by) == (START, None)


@pytest.mark.parametrize(
    ("until", "steps"),
    [
        ("calibrate", ["calibrate"]),
        ("solve", ["calibrate", "measure", "solve"]),
        ("append", list(STEPS[:-1])),
    ],
)
def test_it_stops_where_it_is_told_and_records_what_it_has(
    station: Station, monkeypatch: pytest.MonkeyPatch, until: str, steps: list[str]
) -> None:
    story = steps_of_straw(monkeypatch)
    reducer = station.reducer(until=until)
    assert reducer.steps == (*steps, "append")
    outcome = reduced(reducer, station.frame("light.fits"))
    assert [step for _, step in story] == steps
    assert current_reduction(reducer.database, only_frame(reducer, outcome.exposure_id).id or 0) is not None


def test_a_calibration_frame_is_done_once_its_pixels_are_checked(
    station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = steps_of_straw(monkeypatch)
    outcome = reduced(reducer, station.frame("bias.fits", "bias"))
    assert outcome.state == "done"
    assert story == []
    assert current_reduction(reducer.database, only_frame(reducer, outcome.exposure_id).id or 0) is None


def test_a_calibration_frame_is_settled_by_whoever_identifies_it(station: Station, reducer: Reducer) -> None:
    """A run of Prefect takes it no further: nothing is left for it to do."""
    identified = reducer.identify(
        entered(reducer, station.frame("flat.fits", "flat", **{"DATE-OBS": "soon"}))
    )
    frame = only_frame(reducer, identified.exposure_id)
    assert frame.state == State.DONE
    assert "DATE-OBS" in frame.reason
    assert reducer.conclude(identified.exposure_id).reason == frame.reason
    assert [one for one in disagreements(reducer.database) if one.number] == []
    assert kept_by(reducer) == NOTHING


@pytest.mark.parametrize(
    ("step", "error", "state", "waits_for"),
    [
        ("calibrate", FrameRejected("no pixel is finite"), "rejected", ""),
        ("calibrate", MissingCalibration("no flat in V"), "held", "calibration"),
        ("solve", NoSolution("no WCS from 3 stars"), "held", "wcs"),
        ("flux", ZeroDivisionError("division by zero"), "failed", ""),
    ],
)
def test_an_error_ends_it_by_consequence(
    station: Station,
    reducer: Reducer,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: Exception,
    state: str,
    waits_for: str,
) -> None:
    story = steps_of_straw(monkeypatch, **{step: error})
    outcome = reduced(reducer, station.frame("light.fits"))
    assert outcome.state == state
    assert str(error) in outcome.reason
    assert story[-1][1] == step
    frame = only_frame(reducer, outcome.exposure_id)
    assert (frame.state, frame.reason) == (state, outcome.reason)
    assert exposure(reducer, outcome.exposure_id).waits_for == waits_for
    # A frame without a WCS keeps what was measured on it, to be looked at; it is in no light curve.
    kept = current_reduction(reducer.database, frame.id or 0)
    assert (kept is not None) == (waits_for == "wcs")
    assert rows(reducer)["measurement"] == []


class TestOutsideIsAway:
    def test_it_is_tried_three_times_then_held_with_a_time(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
    ) -> None:
        story = steps_of_straw(monkeypatch, flux=RetryLater("catalogue service away"))
        outcome = reduced(reducer, station.frame("light.fits"))
        assert [step for _, step in story].count("flux") == 3
        assert pauses == [0.5, 1.0]
        held = exposure(reducer, outcome.exposure_id)
        assert (held.state, held.waits_for) == (State.HELD, "outside")
        assert held.retry_at == START + timedelta(minutes=5)

    @pytest.mark.parametrize("first", [Priority.LIVE, Priority.REDO, Priority.BACKFILL])
    def test_it_is_tried_ever_less_often_and_behind_what_is_fresh(
        self,
        station: Station,
        reducer: Reducer,
        monkeypatch: pytest.MonkeyPatch,
        pauses: list[float],
        first: int,
    ) -> None:
        steps_of_straw(monkeypatch, solve=RetryLater("catalogue service away"))
        path = station.frame("light.fits")
        received = register(reducer.database, path, priority=first, now=START)
        minutes, priorities = [], []
        for _ in range(12):
            reduce_exposure(reducer, received.exposure_id)
            held = exposure(reducer, received.exposure_id)
            minutes.append((held.retry_at - START) / timedelta(minutes=1))
            priorities.append(held.priority)
        assert minutes == [5, 10, 20, 40, *[60] * 8]
        band = max(first, Priority.REDO)
        assert priorities == [*range(band + 1, band + 10), *[band + 9] * 3]
        fresh = receive(reducer.database, "/new.fits", "f" * 64, 2880, priority=first, now=START)
        taken = lease(reducer.database, "w", now=START + timedelta(hours=2), seconds=60)
        assert taken is not None
        assert taken.id == fresh.exposure_id

    def test_it_goes_on_when_it_is_back(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
    ) -> None:
        steps_of_straw(monkeypatch)
        answers = iter([RetryLater("away"), None])

        def moody(work, context):
            answer = next(answers)
            if answer is not None:
                raise answer
            return {}

        monkeypatch.setitem(reducer_module._WORKERS, "solve", moody)
        assert reduced(reducer, station.frame("light.fits")).state == "done"
        assert pauses == [0.5]

    def test_a_file_that_was_renamed_while_it_was_reduced_is_taken_up_again(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
    ) -> None:
        path = station.frame("light.fits")
        final = path.with_name("final.fits")

        def renamed(work, context):
            move(reducer.database, content_hash(path.rename(final)), str(path), str(final))
            raise RetryLater(f"{path}: cannot be read: No such file or directory")

        steps_of_straw(monkeypatch)
        monkeypatch.setattr("nightflow.pipeline.reduce_exposure._TRIES", 1)
        monkeypatch.setitem(reducer_module._WORKERS, "calibrate", renamed)
        outcome = reduced(reducer, path)
        assert exposure(reducer, outcome.exposure_id).state == State.RECEIVED

    def test_a_file_that_vanished_is_held(self, station: Station, reducer: Reducer) -> None:
        path = station.frame("light.fits")
        exposure_id = entered(reducer, path)
        path.unlink()
        outcome = reduce_exposure(reducer, exposure_id)
        assert outcome.state == "held"
        assert "light.fits" in outcome.reason


def test_a_bug_keeps_its_traceback_and_the_next_frame_goes_on(
    station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        steps_of_straw(patch, measure=IndexError("list index out of range"))
        broken = reduced(reducer, station.frame("one.fits"))
    frame = only_frame(reducer, broken.exposure_id)
    assert "in work" in frame.traceback
    assert frame.traceback.rstrip().endswith("IndexError: list index out of range")
    steps_of_straw(monkeypatch)
    assert reduced(reducer, station.frame("two.fits")).state == "done"


def test_a_bug_before_there_is_a_frame_fails_the_exposure(
    station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object, **__: object) -> None:
        raise TypeError("a bug in the reading of headers")

    monkeypatch.setattr(reducer_module, "identify_file", bug)
    outcome = reduced(reducer, station.frame("light.fits"))
    assert (outcome.state, outcome.reason) == ("failed", "TypeError: a bug in the reading of headers")


def test_warnings_become_the_reason_of_a_done_frame_each_once(
    station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_of_straw(monkeypatch)

    def warned(work, context):
        work.warnings += ["gain unknown", "no flat", "gain unknown"]
        return {}

    monkeypatch.setitem(reducer_module._WORKERS, "calibrate", warned)
    outcome = reduced(reducer, station.frame("light.fits"))
    assert (outcome.state, outcome.reason) == ("done", "gain unknown; no flat")


def test_products_that_cannot_be_written_cost_no_frame(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    (station.root / "products").write_text("in the way")
    reducer = station.reducer(products=True, until="calibrate")
    outcome = reduced(reducer, station.frame("light.fits"))
    assert outcome.state == "done"
    assert "products not written" in outcome.reason


def test_products_beyond_their_quota_cost_no_frame(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = ProductSettings(quota=1e-6)
    station.settings = station.settings.model_copy(update={"products": quota})
    outcome = reduced(station.reducer(products=True, until="calibrate"), station.frame("light.fits"))
    assert outcome.state == "done"
    assert "products not written: NoRoom: products.quota = 1e-06 (GB)" in outcome.reason
    assert not (station.root / "products").exists()


def test_the_oldest_products_make_room(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a raw frame that lies among them stays."""
    quota = ProductSettings(quota=2.05e-3)
    station.settings = station.settings.model_copy(update={"products": quota})
    reducer = station.reducer(products=True, until="calibrate")
    raw, old = (station.root / "products" / "2020-01-01" / f"{name}-e1-f1.fits" for name in ("raw", "old"))
    raw.parent.mkdir(parents=True)
    for number, path in enumerate((raw, old)):
        path.write_bytes(bytes(20_000 + number))
    register(reducer.database, raw, priority=Priority.LIVE, now=START)
    outcome = reduced(reducer, station.frame("light.fits"))
    assert (outcome.state, "products" in outcome.reason) == ("done", False)
    assert raw.exists()
    assert not old.exists()


class TestMosaic:
    """An exposure of two chips."""

    def chips(self, reducer: Reducer, exposure_id: int) -> dict[str, str]:
        return {frame.detector: frame.state for frame in frames_of(reducer.database, exposure_id)}

    def test_each_chip_is_a_frame(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        story = steps_of_straw(monkeypatch)
        outcome = reduced(reducer, station.frame("mosaic.fits", chips=2))
        assert self.chips(reducer, outcome.exposure_id) == {"chip0": "done", "chip1": "done"}
        assert len(story) == 8

    def test_one_may_fail_without_the_other(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps_of_straw(monkeypatch)

        def chip0_is_dark(work, context):
            if work.header.detector == "chip0":
                raise FrameRejected(f"{work.path.name}: chip0 saw nothing")
            return {}

        monkeypatch.setitem(reducer_module._WORKERS, "measure", chip0_is_dark)
        outcome = reduced(reducer, station.frame("mosaic.fits", chips=2))
        assert self.chips(reducer, outcome.exposure_id) == {"chip0": "rejected", "chip1": "done"}
        assert (outcome.state, outcome.reason) == ("rejected", "mosaic.fits: chip0 saw nothing")
        rows = {row["detector"]: row for row in frame_rows(reducer.database)}
        assert [rows[chip]["version"] for chip in ("chip0", "chip1")] == [None, 1]

    def test_masters_are_a_chip_s_own(self, station: Station) -> None:
        reducer = station.reducer(until="calibrate")
        for number in range(3):
            reduced(reducer, station.frame(f"bias{number}.fits", "bias", hours=-4 + number / 60, chips=2))
        outcome = reduced(reducer, station.frame("mosaic.fits", chips=2))
        reductions = [
            current_reduction(reducer.database, frame.id or 0)
            for frame in frames_of(reducer.database, outcome.exposure_id)
        ]
        used = [reduction.masters["bias"] for reduction in reductions if reduction is not None]
        assert len(set(used)) == 2


@pytest.mark.parametrize("kind", ["bias", "light"])
def test_pixels_without_a_value_are_refused(station: Station, reducer: Reducer, kind: str) -> None:
    path = station.frame(f"nan-{kind}.fits", kind)
    with fits.open(path) as hdus:
        hdus[1].data = np.full((32, 40), np.nan, np.float32)
        hdus.writeto(path, overwrite=True)
    outcome = reduced(reducer, path)
    assert outcome.state == "rejected"
    assert path.name in outcome.reason
    assert [row["state"] for row in frame_rows(reducer.database)] == ["rejected"]
    frame = only_frame(reducer, outcome.exposure_id)
    assert (frame.state, frame.reason) == (State.REJECTED, outcome.reason)


def test_nothing_of_a_frame_is_kept_once_it_is_settled(
    station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_of_straw(monkeypatch)
    reduced(reducer, station.frame("one.fits"))
    with monkeypatch.context() as patch:
        steps_of_straw(patch, solve=NoSolution("no WCS"))
        reduced(reducer, station.frame("two.fits"))
    reduced(reducer, station.frame("bias.fits", "bias"))
    empty = station.raw / "empty.fits"
    empty.write_bytes(b"")
    reduced(reducer, empty)
    assert kept_by(reducer) == NOTHING


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_file_that_comes_back_just_then_is_not_waited_for(
    station: Station, reducer: Reducer, comes_back: bool
) -> None:
    """Whoever saw it come found its exposure in work, and left it alone."""
    path = station.frame("light.fits")
    exposure_id = entered(reducer, path)
    assert lease_exposure(reducer.database, exposure_id, "test", now=START, seconds=600) is not None
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(RetryLater) as away:
        reducer.identify(exposure_id)
    if comes_back:
        path.write_bytes(content)
    assert reducer.conclude(exposure_id, away.value).state == "held"
    found = exposure(reducer, exposure_id)
    assert (found.state, found.retry_at is None) == (("received", True) if comes_back else ("held", False))


def away(reducer: Reducer, path: Path) -> None:
    """Conclude an exposure whose file could not be opened, and is there by now."""
    exposure_id = entered(reducer, path)
    assert lease_exposure(reducer.database, exposure_id, "test", now=START, seconds=600) is not None
    hidden = path.rename(path.with_suffix(".hidden"))
    with pytest.raises(RetryLater) as error:
        reducer.identify(exposure_id)
    hidden.rename(path)
    reducer.conclude(exposure_id, error.value)


def test_a_disk_that_goes_away_once_more_costs_nothing(
    station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is settled by then: a fault would end the run."""
    path = station.frame("light.fits")
    real = os.stat

    def stat(asked: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if str(asked) == str(path):
            raise OSError(errno.EIO, "Input/output error")
        return real(asked, *arguments, **options)

    exposure_id = entered(reducer, path)
    missing = RetryLater(f"{path}: cannot be read")
    missing.__cause__ = FileNotFoundError()
    monkeypatch.setattr(os, "stat", stat)
    assert reducer.conclude(exposure_id, missing).state == "held"
    assert exposure(reducer, exposure_id).state == State.HELD


def test_a_file_that_is_listed_and_cannot_be_opened_is_not_tried_without_a_pause(
    station: Station, reducer: Reducer
) -> None:
    path = station.frame("light.fits")
    states = []
    for _ in range(4):
        away(reducer, path)
        states.append(exposure(reducer, 1).state)
    assert states == [State.RECEIVED, State.RECEIVED, State.HELD, State.HELD]
    retry_at = exposure(reducer, 1).retry_at
    assert retry_at is not None
    assert retry_at > START


def test_what_comes_back_stays_one_of_its_backfill(station: Station, reducer: Reducer) -> None:
    path = station.frame("light.fits")
    register(reducer.database, path, priority=Priority.BACKFILL, now=START)
    away(reducer, path)
    assert take_queued(reducer.database) == 1


def test_a_file_that_vanishes_after_it_was_identified_is_taken_up_when_it_is_back(
    station: Station, reducer: Reducer, pauses: list[float]
) -> None:
    path = station.frame("light.fits")
    exposure_id = entered(reducer, path)
    assert lease_exposure(reducer.database, exposure_id, "test", now=START, seconds=600) is not None
    (frame_id,) = reducer.identify(exposure_id).frame_ids
    hidden = path.rename(path.with_suffix(".hidden"))
    with pytest.raises(RetryLater) as error:
        reducer.perform(frame_id, "calibrate")
    reducer.settle_frame(frame_id, error.value)
    hidden.rename(path)
    assert reducer.conclude(exposure_id).state == "held"
    assert exposure(reducer, exposure_id).state == State.RECEIVED


def test_a_file_that_another_has_in_work_again_is_left_to_him(
    station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor saw it come while this process looked whether it is there."""
    path = station.frame("light.fits")

    def is_there(asked: Any) -> bool:
        assert reducer._conclusions._concluding.acquire(blocking=False), "others wait for a disk that hangs"
        reducer._conclusions._concluding.release()
        assert lease_exposure(reducer.database, 1, "another", now=START, seconds=600) is not None
        settle_exposure(reducer.database, 1, State.DONE, "", now=START)
        return True

    monkeypatch.setattr(waiting_module, "is_there", is_there)
    away(reducer, path)
    assert exposure(reducer, 1).state == State.DONE


def rewritten(station: Station, reducer: Reducer) -> tuple[int, int]:
    """A light that is done, and another version of its file that lies in its place."""
    path = station.frame("light.fits")
    old = reduced(reducer, path).exposure_id
    path.unlink()
    return old, entered(reducer, station.frame("light.fits", OBJECT="M 66"))


class TestTheStoreIsLockedBehindTheEnd:
    """What follows from the end of an exposure is made up for; it is settled but once."""

    @pytest.mark.parametrize("step", ["supersede_replaced", "wake_for_calibration"])
    def test_the_old_version_goes_all_the_same(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        steps_of_straw(monkeypatch)
        old, new = rewritten(station, reducer)
        assert lease_exposure(reducer.database, new, "worker", now=START, seconds=600) is not None
        locked_once(monkeypatch, step)
        assert reduce_exposure(reducer, new, "worker").state == "done"
        assert [exposure(reducer, one).state for one in (old, new)] == [State.REJECTED, State.DONE]
        assert current_reduction(reducer.database, only_frame(reducer, old).id or 0) is None
        assert current_reduction(reducer.database, only_frame(reducer, new).id or 0) is not None

    def test_content_that_is_there_again_is_queued_all_the_same(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        latest = station.frame("latest.fits")
        exposure_id, content = entered(reducer, latest), latest.read_bytes()
        latest.unlink()
        station.frame("latest.fits", hours=1.0)
        assert lease_exposure(reducer.database, exposure_id, "worker", now=START, seconds=600) is not None
        with pytest.raises(ContentGone) as gone:
            reducer.identify(exposure_id, worker="worker")
        latest.write_bytes(content)
        locked_once(monkeypatch, "is_somewhere")
        with pytest.raises(RetryLater):
            reducer.conclude(exposure_id, gone.value, "worker")
        assert reducer.conclude(exposure_id, gone.value, "worker").state == "rejected"
        assert exposure(reducer, exposure_id).state == State.RECEIVED

    @pytest.mark.parametrize("state", ["done", "failed"])
    def test_it_can_be_made_up_for_by_another_process(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch, state: str
    ) -> None:
        """Who settled it has died in between."""
        steps_of_straw(monkeypatch)
        old, new = rewritten(station, reducer)
        with monkeypatch.context() as patch:
            patch.setattr(conclusion_module, "supersede_replaced", lambda *_, **__: [])
            assert reduce_exposure(reducer, new).state == "done"
        assert [exposure(reducer, one).state for one in (old, new)] == [State.DONE, State.DONE]
        if state == "failed":
            settle_exposure(reducer.database, new, State.FAILED, "a bug", now=START)
        woken: list[list[str]] = []
        monkeypatch.setattr(
            conclusion_module,
            "wake_for_calibration",
            lambda _, frames, __: woken.append([frame.object for frame in frames]),
        )
        other = station.reducer()
        other.follow_up(old)
        other.follow_up(new)
        expected = (State.REJECTED, [["M 66"]]) if state == "done" else (State.DONE, [["M 67"]])
        assert (exposure(reducer, old).state, woken[-1:]) == expected

    def test_the_next_end_is_another_one(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody has tried it again, and it is reduced anew."""
        steps_of_straw(monkeypatch)
        path = station.frame("light.fits")
        exposure_id = entered(reducer, path)
        assert lease_exposure(reducer.database, exposure_id, "worker", now=START, seconds=600) is not None
        reducer.identify(exposure_id, worker="worker")
        locked_once(monkeypatch, "wake_for_calibration")
        with pytest.raises(RetryLater):
            reducer.conclude(exposure_id, NoSolution("few stars"), "worker")
        assert lease_exposure(reducer.database, exposure_id, "worker", now=START, seconds=600) is not None
        assert reduce_exposure(reducer, exposure_id, "worker").state == "done"
        assert exposure(reducer, exposure_id).state == State.DONE


def locked_once(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Let the store be locked the first time that the reducer does this."""
    module = reducer_module if hasattr(reducer_module, function) else conclusion_module
    real, calls = getattr(module, function), []

    def locked(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RetryLater("the store is locked")
        return real(*arguments, **options)

    monkeypatch.setattr(module, function, locked)


class TestLeaseLost:
    """Another process has the exposure since it was identified."""

    @pytest.fixture
    def frame_id(self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch) -> int:
        steps_of_straw(monkeypatch)
        exposure_id = entered(reducer, station.frame("light.fits"))
        assert lease_exposure(reducer.database, exposure_id, "first", now=START, seconds=600) is not None
        (frame_id,) = reducer.identify(exposure_id, worker="first").frame_ids
        after = START + timedelta(seconds=700)
        assert lease_exposure(reducer.database, exposure_id, "second", now=after, seconds=600) is not None
        return frame_id

    def test_nothing_is_appended(self, reducer: Reducer, frame_id: int) -> None:
        with pytest.raises(LeaseLost, match="first holds its exposure no more"):
            reducer.perform(frame_id, "append")
        assert rows(reducer)["reduction"] == []

    @pytest.mark.parametrize("error", [None, NoSolution("no WCS"), ZeroDivisionError("a bug")])
    def test_its_frame_keeps_its_state(
        self, station: Station, reducer: Reducer, frame_id: int, error: Exception | None
    ) -> None:
        before = rows(reducer)
        assert reducer.settle_frame(frame_id, error) == "lost"
        assert reducer.conclude(1, worker="first").state == "lost"
        assert rows(reducer) == before
        assert kept_by(reducer) == NOTHING

    def test_no_products_are_written(self, station: Station) -> None:
        reducer = station.reducer(products=True, until="calibrate")
        exposure_id = entered(reducer, station.frame("light.fits"))
        assert lease_exposure(reducer.database, exposure_id, "first", now=START, seconds=600) is not None
        (frame_id,) = reducer.identify(exposure_id, worker="first").frame_ids
        reducer.perform(frame_id, "calibrate")
        after = START + timedelta(seconds=700)
        assert lease_exposure(reducer.database, exposure_id, "second", now=after, seconds=600) is not None
        assert reducer.settle_frame(frame_id) == "lost"
        assert reducer.products(frame_id) == {}

    def test_frames_of_another_reading_are_not_entered(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stopped for longer than its lease, with a profile that names the detectors otherwise by then."""
        steps_of_straw(monkeypatch)
        path = station.frame("light.fits")
        exposure_id = entered(reducer, path)
        assert lease_exposure(reducer.database, exposure_id, "first", now=START, seconds=600) is not None
        station.set_profile(PROFILE.replace('detector = "CHIP"\n', ""))
        second, after = station.reducer(), START + timedelta(seconds=700)
        identify = reducer_module.identify_file

        def stopped(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(reducer_module, "identify_file", identify)
            found = identify(*arguments, **options)
            assert lease_exposure(second.database, exposure_id, "second", now=after, seconds=600) is not None
            assert reduce_exposure(second, exposure_id, "second").state == "done"
            return found

        monkeypatch.setattr(reducer_module, "identify_file", stopped)
        assert reduce_exposure(reducer, exposure_id, "first").state == "lost"
        assert len(rows(reducer)["frame"]) == 1
        frame = only_frame(reducer, exposure_id)
        assert (frame.detector, frame.state) == ("1", State.DONE)
        assert current_reduction(reducer.database, frame.id or 0) is not None

    def test_who_holds_it_still_is_not_disturbed(self, station: Station, reducer: Reducer) -> None:
        exposure_id = entered(reducer, station.frame("bias.fits", "bias"))
        assert lease_exposure(reducer.database, exposure_id, "first", now=START, seconds=600) is not None
        assert reduce_exposure(reducer, exposure_id, "first").state == "done"


def test_an_exposure_that_is_not_in_the_ledger(reducer: Reducer) -> None:
    with pytest.raises(KeyError, match="exposure 99 is not in the ledger"):
        reducer.identify(99)


def test_the_title_is_for_people(station: Station, reducer: Reducer) -> None:
    found = reducer.identify(entered(reducer, station.frame("light.fits")))
    assert (found.title, found.kind) == ("light.fits M 67 V", "light")
    assert Path(found.path).name == "light.fits"


def test_the_tags_are_what_people_look_for(station: Station, reducer: Reducer) -> None:
    found = reducer.identify(entered(reducer, station.frame("light.fits")))
    camera, kind, filter_, night = found.tags
    assert (camera, kind, filter_) == ("camera:tinycam", "kind:light", "filter:V")
    assert night == f"night:{frames_of(reducer.database, found.exposure_id)[0].night}"
    bias = reducer.identify(entered(reducer, station.frame("bias.fits", kind="bias")))
    assert not [tag for tag in bias.tags if tag.startswith("filter")], "it has none"
