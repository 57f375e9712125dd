from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import event

from nightflow.store.database import Database
from nightflow.store.frames import record_frames
from nightflow.store.last_error import last_error
from nightflow.store.ledger import CONTENT, receive, settle_exposure
from nightflow.store.models import Exposure, State
from nightflow.store.supersede import supersede_replaced
from nightflow.store.writer import append
from tests.unit.store.builders import START, columns, header, later, record, sha, stars

LATEST = "/data/latest.fits"


def _ended(database: Database, path: str, state: State, seconds: float, **settled: Any) -> int:
    content = sha(f"{path} {seconds}")
    exposure_id = receive(database, path, content, 100, now=START).exposure_id
    settle_exposure(database, exposure_id, state, "", now=later(seconds), **settled)
    return exposure_id


def _last(database: Database) -> int | None:
    error = last_error(database)
    return None if error is None else error.id


def test_an_error_whose_file_has_come_well_since_is_none_any_more(database: Database) -> None:
    assert _last(database) is None
    _ended(database, "/data/a.fits", State.DONE, 1)
    other = _ended(database, "/data/b.fits", State.FAILED, 1.5)
    cut = _ended(database, "/data/a.fits", State.REJECTED, 2)
    assert _last(database) == cut, "that it was well before says nothing"
    _ended(database, "/data/a.fits", State.DONE, 3)
    assert _last(database) == other


@pytest.mark.parametrize(
    ("state", "waits_for"),
    [(State.FAILED, ""), (State.REJECTED, CONTENT), (State.HELD, "wcs"), (State.HELD, "outside")],
)
def test_the_next_frame_at_its_path_mends_none_that_was_lost(
    database: Database, state: State, waits_for: str
) -> None:
    """A camera writes each of its frames over the last one."""
    lost = _ended(database, LATEST, state, 1, waits_for=waits_for)
    _ended(database, LATEST, State.DONE, 2)
    assert _last(database) == lost


def _reduced(database: Database, content: str, moment: datetime) -> int:
    exposure_id = receive(database, "/data/x.fits", sha(content), 100, now=moment).exposure_id
    (frame_id,) = record_frames(database, exposure_id, [header()])
    append(database, frame_id, record(), columns(*stars(20)), now=moment)
    settle_exposure(database, exposure_id, State.DONE, "", now=moment)
    return exposure_id


def test_a_file_that_was_corrected_is_no_error(database: Database) -> None:
    old, new = _reduced(database, "as written", later(1)), _reduced(database, "corrected", later(2))
    retired = supersede_replaced(database, new, lambda _: sha("corrected"), now=later(3))
    assert retired == [old]
    assert _last(database) is None


def test_errors_are_looked_through_behind_many_that_were_mended(database: Database) -> None:
    lost = _ended(database, LATEST, State.FAILED, 0)
    with database.write() as session:
        for number in range(250):
            for state, seconds in ((State.REJECTED, 1), (State.DONE, 2)):
                content = f"{number} {state}"
                session.add(
                    Exposure(
                        path=f"/data/{number % 125}.fits",
                        sha256=sha(content),
                        size=1,
                        state=state,
                        received_at=START,
                        done_at=later(10 * number + seconds),
                    )
                )
    assert _last(database) == lost


def test_a_path_that_all_frames_come_under_costs_as_much_as_paths_of_their_own(sqlite_url: str) -> None:
    """In SQLite's steps, of which twice the frames may not cost four times as many."""
    with Database(sqlite_url) as database:
        steps = [_steps_of_last_error(database, number) for number in (2000, 4000)]
    assert steps[1] < 3 * steps[0]


def _steps_of_last_error(database: Database, number: int) -> int:
    """Fill the ledger up to a number of exposures of one path, each fifth of them mended since."""
    with database.write() as session:
        there = session.connection().exec_driver_sql("SELECT count(*) FROM exposure").scalar_one()
        session.add_all(
            Exposure(
                path=LATEST,
                sha256=f"{one:064x}",
                size=1,
                state=State.DONE if one % 5 else State.REJECTED,
                received_at=later(one),
                done_at=later(one),
            )
            for one in range(there + 1, number)
        )
        session.add(
            Exposure(
                path=LATEST,
                sha256=sha(f"{number}"),
                size=1,
                state=State.DONE,
                received_at=later(number),
                done_at=later(number),
            )
        )
    steps = [0]

    def step() -> None:
        steps[0] += 1

    def count(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(step, 1000)

    event.listen(database.engine, "checkout", count)
    assert last_error(database) is None
    event.remove(database.engine, "checkout", count)
    assert steps[0] > 10
    return steps[0]
