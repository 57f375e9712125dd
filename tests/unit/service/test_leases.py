"""What the service itself writes into the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightflow.pipeline.run_name import run_worker
from nightflow.service import leases as leases_module
from nightflow.service.leases import free_dead_leases, hold, note_run, service_tag, worker_name
from nightflow.store.database import Database
from nightflow.store.deaths import ATTEMPTS, Inherited, count_death
from nightflow.store.leases import lease, lease_exposure
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import State
from nightflow.store.overview import get_exposure

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as database:
        database.upgrade()
        for number in range(3):
            receive(database, f"/incoming/{number}.fits", f"{number:064d}", 2880, now=NOW)
        yield database


def test_only_leases_of_services_are_freed(database: Database) -> None:
    """A `nightflow run` beside the service keeps what it is working on."""
    dead = lease(database, "watch:dome:4711", now=NOW, seconds=300)
    alive = lease(database, "run:dome:4712", now=NOW, seconds=300)
    assert dead is not None
    assert alive is not None
    assert free_dead_leases(database, NOW) == Inherited([dead.id or 0], [])
    freed, kept = get_exposure(database, dead.id or 0), get_exposure(database, alive.id or 0)
    assert freed is not None
    assert kept is not None
    assert (freed.state, freed.leased_by, freed.service_deaths) == (State.RECEIVED, None, 1)
    assert freed.attempts == 0, "those count deaths of workers"
    assert (kept.state, kept.leased_by, kept.attempts) == (State.REDUCING, "run:dome:4712", 0)
    assert free_dead_leases(database, NOW) == Inherited([], [])


def test_own_leases_are_recognised_by_a_successor(database: Database) -> None:
    assert lease(database, worker_name(), now=NOW, seconds=300) is not None
    assert len(free_dead_leases(database, NOW).queued) == 1


def test_an_exposure_that_kills_every_service_has_failed_in_the_end(database: Database) -> None:
    ends: list[Inherited] = []
    for _ in range(8):
        assert lease_exposure(database, 2, "watch:dome:4711", now=NOW, seconds=300) is not None
        ends.append(free_dead_leases(database, NOW))
    assert ends == [*[Inherited([2], [])] * 7, Inherited([], [2])]
    exposure = get_exposure(database, 2)
    assert exposure is not None
    assert (exposure.state, exposure.service_deaths, exposure.done_at) == (State.FAILED, 8, NOW)
    assert "/incoming/1.fits: the service died 8 times" in exposure.reason


def test_a_run_of_the_service_finds_the_lease_of_its_own_process(database: Database) -> None:
    now = datetime.now(UTC)
    assert lease_exposure(database, 2, worker_name(), now=now, seconds=300) is not None
    assert hold(database, 2) == worker_name()
    exposure = get_exposure(database, 2)
    assert exposure is not None
    assert exposure.leased_by == worker_name()


@pytest.mark.parametrize("settled", [State.DONE, State.REJECTED, None])
def test_a_worker_of_the_service_takes_nothing_itself(
    database: Database, monkeypatch: pytest.MonkeyPatch, settled: State | None
) -> None:
    """Its run came late: what was settled meanwhile stays so, and what is queued the service leases."""
    monkeypatch.setattr(leases_module, "_acting_for", ["watch:dome:4711"])
    if settled is not None:
        settle_exposure(database, 2, settled, "", now=NOW)
    before = get_exposure(database, 2)
    assert hold(database, 2) is None
    assert get_exposure(database, 2) == before


@pytest.mark.parametrize("settled", [None, State.DONE, State.FAILED])
def test_a_run_by_hand_takes_the_lease(database: Database, settled: State | None) -> None:
    if settled is not None:
        settle_exposure(database, 2, settled, "", now=NOW)
    worker = hold(database, 2)
    exposure = get_exposure(database, 2)
    assert exposure is not None
    assert worker == run_worker()
    assert (exposure.state, exposure.leased_by) == (State.REDUCING, worker)


def test_what_another_process_has_is_not_taken(database: Database) -> None:
    assert lease_exposure(database, 2, "watch:dome:1", now=datetime.now(UTC), seconds=300) is not None
    assert hold(database, 2) is None
    exposure = get_exposure(database, 2)
    assert exposure is not None
    assert exposure.leased_by == "watch:dome:1"


def test_what_failed_of_deaths_is_not_taken(database: Database) -> None:
    for _ in range(ATTEMPTS):
        assert hold(database, 2) == run_worker()
        assert count_death(database, 2, run_worker(), "a share", NOW) is not None
    assert hold(database, 2) is None
    exposure = get_exposure(database, 2)
    assert exposure is not None
    assert (exposure.state, exposure.attempts) == (State.FAILED, ATTEMPTS)


def test_an_exposure_that_does_not_exist_is_said(database: Database) -> None:
    with pytest.raises(KeyError, match="exposure 99 is not in the ledger"):
        hold(database, 99)


def test_the_run_is_noted(database: Database) -> None:
    note_run(database, 2, "0782078d-c5d4-49ad-b166-36adc727e734")
    exposure = get_exposure(database, 2)
    assert exposure is not None
    assert exposure.prefect_run_id == "0782078d-c5d4-49ad-b166-36adc727e734"


def test_the_tag_is_stable_and_differs_by_ledger() -> None:
    url = "postgresql+psycopg://me:secret@host:5432/night"
    assert service_tag(url) == service_tag(url)
    others = ["sqlite:///night.sqlite", "sqlite:///day.sqlite", url.replace("night", "day"), url + "?port=1"]
    assert len({service_tag(one) for one in [url, *others]}) == 5


@pytest.mark.parametrize("url", ["{}://me:{}@host/night", "{}://me@host/night?password={}"])
def test_nothing_of_the_password_is_in_the_tag(url: str) -> None:
    """It is written into a file; and it still finds the runs of before when the password is changed."""
    tags = {service_tag(url.format("postgresql+psycopg", password)) for password in ("secret", "s%40fe")}
    assert len(tags) == 1
