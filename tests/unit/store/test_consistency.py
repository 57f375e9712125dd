"""A store that agrees with itself, and each way in which it may not."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text

from nightflow.store.consistency import disagreements, recount
from nightflow.store.database import Database
from nightflow.store.frames import settle_frame
from nightflow.store.ledger import settle_exposure
from nightflow.store.models import Frame, State
from nightflow.store.writer import append
from tests.unit.store.builders import START, add_frame, columns, count, record, stars


def night(database: Database, frames: int = 3) -> list[int]:
    """Reduce some frames of one field; return their rows."""
    ids = []
    for number in range(frames):
        frame_id = add_frame(database, f"{number}.fits", mjd_mid=61100.0 + number)
        append(
            database, frame_id, record(f"plan-{number}"), columns(*stars(9), mjd=61100.0 + number), now=START
        )
        settle_frame(database, frame_id, State.DONE, "")
        with database.session() as session:
            frame = session.get(Frame, frame_id)
            assert frame is not None
        settle_exposure(database, frame.exposure_id, State.DONE, "", now=START)
        ids.append(frame_id)
    return ids


def spoil(database: Database, statement: str) -> None:
    with database.write() as session:
        session.execute(text(statement))


def wrong(database: Database) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {one.question: (one.number, one.examples) for one in disagreements(database) if one.number}


def test_an_empty_store_and_a_reduced_night_agree(database: Database) -> None:
    assert wrong(database) == {}
    night(database)
    assert wrong(database) == {}


def test_a_second_version_agrees_too(database: Database) -> None:
    (frame_id, *_) = night(database)
    append(database, frame_id, record("better"), columns(*stars(5)), now=START)
    assert wrong(database) == {}


def _sources(database: Database) -> list[int]:
    with database.session() as session:
        return list(session.connection().execute(text("SELECT id FROM source ORDER BY id")).scalars())


def test_counts_that_are_off_are_named_and_mended(database: Database) -> None:
    night(database)
    first = _sources(database)[:4]
    spoil(database, f"UPDATE source SET n_obs = 7 WHERE id <= {first[-1]}")
    number, examples = wrong(database)["observation counts"]
    assert number == 4
    assert examples == tuple(f"source {one}: 7 noted, 3 counted" for one in first[:3])
    assert recount(database) == 4
    assert wrong(database) == {}
    assert count(database, "source", "n_obs = 3") == 9


def test_a_source_that_no_search_would_find_is_named_and_mended(database: Database) -> None:
    night(database)
    moved = _sources(database)[1]
    spoil(database, f"UPDATE source SET healpix = healpix + 1 WHERE id = {moved}")
    number, examples = wrong(database)["index on the sky"]
    assert (number, examples[0].split(" belongs")[0]) == (1, f"source {moved}")
    assert recount(database) == 1
    assert wrong(database) == {}


@pytest.mark.parametrize(
    ("statement", "question", "words"),
    [
        (
            "UPDATE reduction SET current = false WHERE frame_id = 2",
            "lights without a reduction",
            "/data/1.fits, detector 1",
        ),
        (
            "UPDATE frame SET state = 'failed' WHERE id = 3",
            "states of exposures",
            "/data/2.fits is done, its detector 1 failed",
        ),
        (
            """UPDATE reduction SET masters = '{"flat": "0123456789abcdef"}' WHERE frame_id = 1""",
            "masters of reductions",
            "/data/0.fits: flat 0123456789ab",
        ),
    ],
)
def test_rows_that_contradict_each_other_are_named(
    database: Database, statement: str, question: str, words: str
) -> None:
    night(database)
    spoil(database, statement)
    assert wrong(database)[question] == (1, (words,))


def test_a_source_that_is_twice_on_a_frame_is_named(database: Database) -> None:
    night(database)
    one, other = _sources(database)[:2]
    spoil(
        database, f"UPDATE measurement SET source_id = {one} WHERE source_id = {other} AND reduction_id = 1"
    )
    assert wrong(database)["detections of sources"] == (1, (f"source {one} in reduction 1",))


def test_a_row_that_leads_nowhere_is_named(database: Database) -> None:
    """SQLite lets a program that does not ask for foreign keys write anything; Postgres does not."""
    if database.is_postgres:
        assert wrong(database) == {}
        return
    night(database)
    path = database.engine.url.database
    with closing(sqlite3.connect(str(path))) as connection, connection:
        connection.execute("UPDATE measurement SET source_id = 999 WHERE number = 0")
    number, examples = wrong(database)["database file"]
    assert number == 3
    assert "no such source" in examples[0]
