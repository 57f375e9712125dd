"""`run`: what it takes, in which order, and that it leaves nothing behind when it is interrupted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightflow.pipeline import run as run_module
from nightflow.pipeline.backfill import select
from nightflow.pipeline.outcome import Outcome
from nightflow.pipeline.run import in_order, reduce_all, reduce_paths
from nightflow.pipeline.run_lease import free_dead_runs, hand_back, take
from nightflow.pipeline.run_name import run_worker
from nightflow.store.deaths import Inherited
from nightflow.store.leases import lease_exposure, release
from nightflow.store.ledger import settle_exposure
from nightflow.store.models import State
from tests.unit.pipeline.processes import dead_run
from tests.unit.pipeline.station import Station, entered, exposure, reduced, steps_of_straw


@pytest.fixture(autouse=True)
def story(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    return steps_of_straw(monkeypatch)


def names(station: Station, reducer, ids) -> list[str]:
    return [Path(exposure(reducer, one).path).name for one in ids]


def lease(reducer, exposure_id: int, worker: str) -> None:
    assert lease_exposure(reducer.database, exposure_id, worker, now=datetime.now(UTC), seconds=600)


def test_calibrations_first_then_lights_by_time(station: Station) -> None:
    reducer = station.reducer()
    paths = [
        station.frame("a-late.fits", hours=2),
        station.frame("b-early.fits", hours=1),
        station.frame("c-flat.fits", "flat", hours=3),
        station.frame("d-bias.fits", "bias", hours=9),
    ]
    garbage = station.raw / "0.fits"
    garbage.write_bytes(b"")
    ids = [entered(reducer, path) for path in [garbage, *paths]]
    wanted = ["d-bias.fits", "c-flat.fits", "b-early.fits", "a-late.fits", "0.fits"]
    assert names(station, reducer, in_order(reducer, ids)) == wanted
    reduce_all(reducer, ids)
    assert names(station, reducer, in_order(reducer, ids)) == wanted


def test_the_order_does_not_depend_on_the_order_of_arrival(station: Station, tmp_path: Path) -> None:
    paths = [station.frame(f"{name}.fits", hours=1.0, OBJECT=name) for name in "abcd"]
    orders = []
    for number, arrival in enumerate((paths, paths[::-1])):
        other = Station(tmp_path / f"other{number}")
        reducer = other.reducer()
        ids = [entered(reducer, path) for path in arrival]
        orders.append(names(other, reducer, in_order(reducer, ids)))
        other.close()
    assert orders[0] == orders[1]


def test_progress_is_told_after_each(station: Station) -> None:
    station.frame("one.fits")
    station.frame("two.fits", hours=1)
    told: list[tuple[int, int, str | None]] = []

    def note(done: int, total: int, outcome: Outcome | None) -> None:
        told.append((done, total, outcome.state if outcome is not None else None))

    reduce_paths(station.reducer(), [station.raw], progress=note)
    reduce_paths(station.reducer(), [station.raw], progress=note)
    assert told == [(1, 2, "done"), (2, 2, "done"), (1, 2, None), (2, 2, None)]


def test_a_file_that_vanishes_while_others_are_received_stops_nobody(station: Station) -> None:
    for hours in (1, 2, 3):
        station.frame(f"{hours}.fits", hours=hours)
    elsewhere = station.root / "elsewhere"
    elsewhere.mkdir()

    def folders() -> Iterator[Path]:
        yield station.raw
        (station.raw / "2.fits").rename(elsewhere / "2.fits")  # it is in the list by now

    report = reduce_paths(station.reducer(), folders())
    assert [Path(one.path).name for one in report.outcomes] == ["1.fits", "3.fits"]
    (found,) = reduce_paths(station.reducer(), [station.raw, elsewhere]).outcomes
    assert found.path == str(elsewhere / "2.fits")


def test_what_another_process_reduces_is_left_to_it(station: Station) -> None:
    reducer = station.reducer()
    busy = station.frame("busy.fits")
    lease(reducer, entered(reducer, busy), "watch:elsewhere:1")
    station.frame("free.fits", hours=1)
    report = reduce_paths(reducer, [station.raw])
    assert report.busy == (str(busy),)
    assert [Path(outcome.path).name for outcome in report.outcomes] == ["free.fits"]


def test_what_another_process_has_ended_by_the_end_is_not_left_open(station: Station) -> None:
    """The live service takes one of a backfill, where it sees none at work on it."""
    reducer = station.reducer()
    paths = [station.frame("first.fits"), station.frame("second.fits", hours=1)]
    first, second = (entered(reducer, path) for path in paths)
    lease(reducer, first, "watch:elsewhere:1")

    def live_service(done: int, total: int, outcome: Outcome | None) -> None:
        if done == 2:
            settle_exposure(reducer.database, first, State.DONE, "", now=datetime.now(UTC))

    report = reduce_all(reducer, [first, second], force=True, progress=live_service)
    assert [outcome.exposure_id for outcome in report.outcomes] == [second]
    assert (report.unchanged, report.busy) == (1, ())


def test_what_another_process_did_meanwhile_is_not_done_once_more(station: Station) -> None:
    reducer = station.reducer()
    paths = [station.frame("first.fits"), station.frame("second.fits", hours=1)]
    first, second = (entered(reducer, path) for path in paths)

    def live_service(done: int, total: int, outcome: Outcome | None) -> None:
        if done == 1:
            settle_exposure(reducer.database, second, State.REJECTED, "no stars", now=datetime.now(UTC))

    report = reduce_all(reducer, [first, second], force=True, progress=live_service)
    assert [outcome.exposure_id for outcome in report.outcomes] == [first]
    assert (report.unchanged, exposure(reducer, second).state) == (1, State.REJECTED)
    again = reduce_all(reducer, [second], force=True)
    assert [outcome.exposure_id for outcome in again.outcomes] == [second]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(1), MemoryError()])
def test_an_interrupted_run_hands_its_exposure_back(
    station: Station, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
) -> None:
    reducer = station.reducer()
    path = station.frame("light.fits")

    def interrupted(*_: object, **__: object) -> None:
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "reduce_exposure", interrupted)
        with pytest.raises(type(interruption)):
            reduce_paths(reducer, [path])
    left = exposure(reducer, 1)
    assert (left.state, left.leased_by) == (State.RECEIVED, None)
    assert reduce_paths(station.reducer(), [path]).outcomes[0].state == "done"


def test_what_a_killed_run_held_is_taken_up_at_once(station: Station) -> None:
    reducer = station.reducer()
    path = station.frame("light.fits")
    lease(reducer, entered(reducer, path), dead_run())
    assert reduce_paths(reducer, [path]).outcomes[0].state == "done"


@pytest.mark.parametrize("how", ["its process is gone", "its lease has ended"])
def test_what_kills_each_run_has_failed_with_the_third_and_is_left(station: Station, how: str) -> None:
    reducer = station.reducer()
    exposure_id = entered(reducer, station.frame("killer.fits"))
    for number in range(1, 4):
        assert take(reducer.database, exposure_id), "it is tried again"
        if how == "its process is gone":
            held_by(reducer, exposure_id, dead_run())
        else:
            held_by(reducer, exposure_id, "run:elsewhere:1:0123abcd-7", since=timedelta(hours=2))
        freed = free_dead_runs(reducer.database, datetime.now(UTC))
        assert freed == (Inherited([exposure_id], []) if number < 3 else Inherited([], [exposure_id]))
    assert not take(reducer.database, exposure_id)
    assert select(reducer).exposures == [], "the next backfill would die of it"
    report = reduce_paths(reducer, [station.raw])
    assert [outcome.state for outcome in report.failed] == ["failed"], "the run says so"
    assert "3 workers died of it" in report.failed[0].reason
    assert exposure(reducer, exposure_id).attempts == 3
    again = reduce_paths(reducer, [station.raw], force=True)
    assert [outcome.state for outcome in again.outcomes] == ["done"]


@pytest.mark.parametrize("force", [False, True])
def test_the_run_that_counts_the_third_death_does_not_undo_it(station: Station, force: bool) -> None:
    reducer = station.reducer()
    exposure_id = entered(reducer, station.frame("killer.fits"))
    for _ in range(2):
        assert take(reducer.database, exposure_id)
        held_by(reducer, exposure_id, dead_run())
        free_dead_runs(reducer.database, datetime.now(UTC))
    assert take(reducer.database, exposure_id)
    held_by(reducer, exposure_id, dead_run())
    report = reduce_all(reducer, [exposure_id], force=force)
    assert [outcome.state for outcome in report.outcomes] == ["failed"]
    assert exposure(reducer, exposure_id).state == State.FAILED


def held_by(reducer, exposure_id: int, worker: str, since: timedelta = timedelta()) -> None:
    """Let another hold what this process has leased."""
    assert release(reducer.database, exposure_id)
    now = datetime.now(UTC) - since
    assert lease_exposure(reducer.database, exposure_id, worker, now=now, seconds=600)


def test_what_is_interrupted_counts_no_death(station: Station) -> None:
    reducer = station.reducer()
    exposure_id = entered(reducer, station.frame("light.fits"))
    assert take(reducer.database, exposure_id)
    hand_back(reducer.database, exposure_id)
    assert exposure(reducer, exposure_id).attempts == 0


@pytest.mark.parametrize("worker", [run_worker(os.getppid()), "run:elsewhere:1", "watch:elsewhere:1"])
def test_what_a_living_or_a_distant_process_holds_stays_its_own(station: Station, worker: str) -> None:
    reducer = station.reducer()
    exposure_id = entered(reducer, station.frame("light.fits"))
    lease(reducer, exposure_id, worker)
    assert free_dead_runs(reducer.database, datetime.now(UTC)) == Inherited([], [])
    assert not take(reducer.database, exposure_id)
    assert exposure(reducer, exposure_id).leased_by == worker


def test_what_is_settled_can_be_taken_again(station: Station) -> None:
    reducer = station.reducer()
    done = reduced(reducer, station.frame("light.fits"))
    assert take(reducer.database, done.exposure_id)
    assert exposure(reducer, done.exposure_id).state == State.REDUCING


def test_an_empty_folder_is_no_error(station: Station) -> None:
    report = reduce_paths(station.reducer(), [station.raw])
    assert (report.outcomes, report.unchanged, report.busy, report.failed) == ((), 0, (), ())
