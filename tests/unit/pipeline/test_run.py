"""`run`: what it takes, in which order, and that it leaves nothing behind when it is interrupted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightflow.pipeline import run as run_module
from nightflow.pipeline.outcome import Outcome
from nightflow.pipeline.run import in_order, reduce_all, reduce_paths
from nightflow.pipeline.run_lease import free_dead_runs, take
from nightflow.store.leases import lease_exposure
from nightflow.store.ledger import settle_exposure
from nightflow.store.models import State
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


def test_what_another_process_reduces_is_left_to_it(station: Station) -> None:
    reducer = station.reducer()
    busy = station.frame("busy.fits")
    lease(reducer, entered(reducer, busy), "watch:elsewhere:1")
    station.frame("free.fits", hours=1)
    report = reduce_paths(reducer, [station.raw])
    assert report.busy == (str(busy),)
    assert [Path(outcome.path).name for outcome in report.outcomes] == ["free.fits"]


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
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lease(reducer, entered(reducer, path), f"run:{socket.gethostname()}:{dead.pid}")
    assert reduce_paths(reducer, [path]).outcomes[0].state == "done"


@pytest.mark.parametrize(
    "worker", [f"run:{socket.gethostname()}:{os.getppid()}", "run:elsewhere:1", "watch:elsewhere:1"]
)
def test_what_a_living_or_a_distant_process_holds_stays_its_own(station: Station, worker: str) -> None:
    reducer = station.reducer()
    exposure_id = entered(reducer, station.frame("light.fits"))
    lease(reducer, exposure_id, worker)
    assert free_dead_runs(reducer.database) == 0
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
