"""What no run shows yet, in a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightflow.service.leases import note_run
from nightflow.service.unshown import (
    any_in_work,
    count_shown,
    list_unshown,
    note_shown,
    note_unshown,
    unshown,
)
from nightflow.store.database import Database
from nightflow.store.leases import lease_exposure
from nightflow.store.ledger import receive, requeue, settle_exposure
from nightflow.store.models import State
from nightflow.store.overview import get_exposure

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path}/ledger.sqlite") as database:
        database.upgrade()
        yield database


def received(database: Database, number: int) -> int:
    return receive(database, f"/in/{number}.fits", f"{number:064d}", 2880, now=NOW).exposure_id


def reduced_without_a_run(database: Database, number: int, state: State = State.DONE) -> int:
    exposure_id = received(database, number)
    note_unshown(database, exposure_id)
    settle_exposure(database, exposure_id, state, "why", now=NOW + timedelta(minutes=number))
    return exposure_id


def test_only_what_the_service_reduced_without_a_run_is_unshown(database: Database) -> None:
    """Neither what `nightflow run` or a backfill did, nor what has its run."""
    by_hand, as_run = received(database, 1), received(database, 2)
    note_run(database, as_run, "a run")
    for one in (by_hand, as_run):
        settle_exposure(database, one, State.DONE, "", now=NOW)
    assert unshown(database).ended == 0
    first, last = (reduced_without_a_run(database, number) for number in (3, 5))
    queued = received(database, 6)
    note_unshown(database, queued)
    found = unshown(database)
    assert (found.ended, found.waiting) == (2, 1)
    assert (found.first, found.last) == (NOW + timedelta(minutes=3), NOW + timedelta(minutes=5))
    assert [row["exposure"] for row in list_unshown(database, NOW, NOW + timedelta(hours=1))] == [first, last]


def test_an_exposure_that_once_had_a_run_is_unshown_when_it_is_reduced_again_without(
    database: Database,
) -> None:
    exposure_id = received(database, 1)
    note_run(database, exposure_id, "a run")
    note_unshown(database, exposure_id)
    settle_exposure(database, exposure_id, State.DONE, "", now=NOW)
    assert unshown(database).ended == 1


def test_a_list_has_what_ended_in_its_time_and_says_how(database: Database) -> None:
    for number, state in ((3, State.DONE), (5, State.REJECTED), (7, State.DONE)):
        reduced_without_a_run(database, number, state)
    [row] = list_unshown(database, NOW + timedelta(minutes=4), NOW + timedelta(minutes=6))
    assert (row["file"], row["state"], row["reason"]) == ("5.fits", "rejected", "why")
    assert row["at"] == "2026-01-02T03:09:00+00:00"


def test_what_a_run_lists_is_not_listed_again(database: Database) -> None:
    ids = [reduced_without_a_run(database, number) for number in range(3)]
    requeue(database, [ids[2]], now=NOW)
    note_shown(database, ids, "catch-up")
    shown = [get_exposure(database, one) for one in ids]
    assert [one.prefect_run_id for one in shown if one is not None] == ["catch-up", "catch-up", ""]
    found = unshown(database)
    assert [count_shown(database), count_shown(database, ["catch-up"]), count_shown(database, [])] == [
        2,
        2,
        0,
    ]
    assert (found.ended, found.waiting) == (0, 1), "taken up again meanwhile: it is not at its end"


def test_what_is_in_work_is_known(database: Database) -> None:
    exposure_id = received(database, 1)
    assert lease_exposure(database, exposure_id, "watch:dome:1", now=NOW, seconds=600) is not None
    assert not any_in_work(database), "it may have a run"
    note_unshown(database, exposure_id)
    assert any_in_work(database)
    settle_exposure(database, exposure_id, State.DONE, "", now=NOW)
    assert not any_in_work(database)
