"""A Dask cluster on the loopback, on one Postgres ledger, reduces a night."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("prefect_dask", reason="prefect-dask is not installed: pip install 'nightflow[dask]'")

from sqlmodel import col, func, select

from benchmarks.pools import Night, doubled, reduce_night
from benchmarks.stores import Postgres
from nightflow.pipeline.run_name import shown_worker
from nightflow.simulate import NightPlan, write_night
from nightflow.store.database import Database
from nightflow.store.deaths import ATTEMPTS
from nightflow.store.models import Exposure, State

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    write_night(NightPlan.small(n_lights=30, cadence=480.0), folder)
    return folder


def files_of(night: Path) -> list[str]:
    return sorted(path.name for path in (night / "raw").glob("*.fits"))


def files_reduced(night: Night) -> list[str]:
    return sorted(file for share in night.shares for file in share)


def test_each_worker_has_its_share_and_no_exposure_comes_twice(night: Path, tmp_path: Path) -> None:
    with Postgres.started() as postgres:
        reduced = reduce_night(tmp_path / "cluster", night, postgres.new_database(), 1, n_on_cluster=2)
    files = files_of(night)
    assert reduced.message == f"{len(files)} done"
    assert files_reduced(reduced) == files
    assert doubled(reduced) == []
    assert {row["state"] for row in reduced.rows} == {State.DONE}
    calibrations = sum(row["kind"] != "light" for row in reduced.rows)
    assert len(reduced.shares) == 3, "the calibrations here, the lights there"
    assert calibrations in [len(share) for share in reduced.shares]


def test_what_a_dead_worker_had_in_hand_is_done_by_another(night: Path, tmp_path: Path) -> None:
    killed: list[str] = []
    with Postgres.started() as postgres:
        url = postgres.new_database()
        killer = threading.Thread(target=kill_one_that_reduces_a_light, args=(url, killed), daemon=True)
        killer.start()
        reduced = reduce_night(tmp_path / "cluster", night, url, 1, n_on_cluster=2)
        killer.join(10)
    assert len(killed) == 1
    files = files_of(night)
    assert reduced.message == f"{len(files)} done"
    assert {row["state"] for row in reduced.rows} == {State.DONE}
    assert doubled(reduced) == []
    assert reduced.left_running == [], "the runs that died with it say so"


def test_a_frame_that_kills_whoever_takes_it_costs_nothing_but_itself(night: Path, tmp_path: Path) -> None:
    """Neither the backfill's own process nor the other frames."""
    files = files_of(night)
    deadly = next(file for file in files if "light" in file)
    killed: list[str] = []
    with Postgres.started() as postgres:
        url = postgres.new_database()
        killer = threading.Thread(target=kill_who_takes_it, args=(url, deadly, killed), daemon=True)
        killer.start()
        reduced = reduce_night(tmp_path / "cluster", night, url, 1, n_on_cluster=2)
        killer.join(10)
    assert len(killed) == ATTEMPTS
    assert reduced.message.startswith(f"{len(files) - 1} done, 1 failed")
    [row] = [row for row in reduced.rows if row["state"] != State.DONE]
    assert Path(row["path"]).name == deadly
    assert "3 workers died of it" in row["reason"]
    assert doubled(reduced) == []


def kill_one_that_reduces_a_light(url: str, killed: list[str]) -> None:
    """Kill the worker that has an exposure when the first lights are done."""
    with Database(url) as database:
        database.upgrade()
        while not killed:
            time.sleep(0.05)
            killed.extend(killed_one(database))


def killed_one(database: Database) -> list[str]:
    with database.session() as session:
        done = session.exec(select(func.count()).where(col(Exposure.state) == State.DONE)).one()
    workers = at_work(database) if done > 18 else []
    for worker in workers[:1]:
        kill(worker)
    return workers[:1]


def kill_who_takes_it(url: str, file: str, killed: list[str]) -> None:
    """Kill each worker that has a file in work, as often as one has."""
    with Database(url) as database:
        database.upgrade()
        while len(killed) < ATTEMPTS:
            time.sleep(0.02)
            for worker in at_work(database, file):
                if worker not in killed:
                    kill(worker)
                    killed.append(worker)


def at_work(database: Database, file: str = "") -> list[str]:
    """Return who has an exposure in work; one of this file, where it is named."""
    held = select(Exposure.leased_by).where(
        col(Exposure.state) == State.REDUCING, col(Exposure.path).endswith(file)
    )
    with database.session() as session:
        return [str(one) for one in session.exec(held)]


def kill(worker: str) -> None:
    os.kill(int(shown_worker(worker).rpartition(":")[2]), signal.SIGKILL)
