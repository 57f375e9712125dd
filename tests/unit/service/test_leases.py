"""What the service itself writes into the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightflow.service.leases import free_dead_leases, note_run, service_tag, worker_name
from nightflow.store.database import Database
from nightflow.store.leases import lease
from nightflow.store.ledger import receive
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
    assert free_dead_leases(database) == [dead.id]
    freed, kept = get_exposure(database, dead.id or 0), get_exposure(database, alive.id or 0)
    assert freed is not None
    assert kept is not None
    assert (freed.state, freed.leased_by, freed.attempts) == (State.RECEIVED, None, 0)
    assert (kept.state, kept.leased_by) == (State.REDUCING, "run:dome:4712")
    assert free_dead_leases(database) == []


def test_own_leases_are_recognised_by_a_successor(database: Database) -> None:
    assert lease(database, worker_name(), now=NOW, seconds=300) is not None
    assert len(free_dead_leases(database)) == 1


def test_the_run_is_noted(database: Database) -> None:
    note_run(database, 2, "0782078d-c5d4-49ad-b166-36adc727e734")
    exposure = get_exposure(database, 2)
    assert exposure is not None
    assert exposure.prefect_run_id == "0782078d-c5d4-49ad-b166-36adc727e734"


def test_the_tag_is_stable_differs_by_ledger_and_hides_the_password() -> None:
    url = "postgresql+psycopg://me:secret@host/night"
    assert service_tag(url) == service_tag(url)
    assert service_tag(url) != service_tag("sqlite:///night.sqlite")
    assert "secret" not in service_tag(url)
