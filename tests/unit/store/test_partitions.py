"""Months of measurements: which there are, who makes them; moving into them and back loses nothing."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text

import nightflow.store.writer as writer
from nightflow.store.consistency import disagreements
from nightflow.store.database import Database
from nightflow.store.partitions import ensure_partition, partition_of
from nightflow.store.writer import append
from tests.unit.store.builders import (
    MJD,
    add_frame,
    columns,
    count,
    everything,
    in_processes,
    later,
    partitions,
    record,
    stars,
)

NOW = later(60)
MONTHS = ("measurement_2026_03", "measurement_2026_04", "measurement_2026_05")


def _made(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return partitions(connection)


def _append(database: Database, mjd: float, name: str, n: int = 20) -> None:
    frame_id = add_frame(database, name, mjd_mid=mjd)
    append(database, frame_id, record(), columns(*stars(n), mjd=mjd), now=NOW)


@pytest.mark.parametrize(
    ("mjd", "name", "first", "end"),
    [
        (61100.0, "measurement_2026_03", 61100, 61131),
        (61099.999999, "measurement_2026_02", 61072, 61100),
        (61130.999999, "measurement_2026_03", 61100, 61131),
        (61405.5, "measurement_2026_12", 61375, 61406),
        (60369.9, "measurement_2024_02", 60341, 60370),
        (0.0, "measurement_1858_11", -16, 14),
        (-0.5, "measurement_1858_11", -16, 14),
        (1e6, "measurement_from_2150", 106331, None),
        (math.inf, "measurement_from_2150", 106331, None),
        (math.nan, "measurement_from_2150", 106331, None),
        (-5e5, "measurement_before_1850", None, -3242),
        (-1e300, "measurement_before_1850", None, -3242),
    ],
)
def test_the_partition_of_a_time(mjd: float, name: str, first: int | None, end: int | None) -> None:
    partition = partition_of(mjd)
    assert (partition.name, partition.first, partition.end) == (name, first, end)


@given(st.floats(min_value=-10000.0, max_value=120000.0))
def test_partitions_hold_their_times_and_leave_no_gap(mjd: float) -> None:
    partition = partition_of(mjd)
    first, end = (-math.inf if partition.first is None else partition.first), partition.end or math.inf
    assert first <= mjd < end
    if partition.end is not None:
        assert partition_of(partition.end).first == partition.end
    if partition.first is not None:
        assert partition_of(math.nextafter(partition.first, -math.inf)).end == partition.first


def test_the_name_is_that_of_the_calendar() -> None:
    moment = datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)
    mjd = (moment - datetime(1858, 11, 17, tzinfo=UTC)).total_seconds() / 86400.0
    assert partition_of(mjd).name == "measurement_2028_02"


def test_the_first_frame_of_a_month_makes_its_partition(database: Database) -> None:
    _append(database, MJD, "a")
    _append(database, MJD + 30.9, "b")
    assert _made(database) == ([MONTHS[0]] if database.is_postgres else [])
    _append(database, MJD + 31.0, "c")
    assert _made(database) == ([*MONTHS[:2]] if database.is_postgres else [])
    assert count(database, "measurement") == 60
    if database.is_postgres:
        assert [count(database, month) for month in MONTHS[:2]] == [40, 20]


def test_a_partition_has_the_keys_indexes_and_triggers_of_its_parent(full_postgres: str) -> None:
    with Database(full_postgres) as database:
        ensure_partition(database, MJD)
        keys = (
            "SELECT contype::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = '{0}'::regclass UNION ALL"
            " SELECT 't', tgfoid::regproc::text || tgtype FROM pg_trigger WHERE tgrelid = '{0}'::regclass"
        )
        indexes = "SELECT count(*) FROM pg_index WHERE indrelid = '{}'::regclass"
        with database.engine.connect() as connection:
            of_parent, of_month = (
                (
                    sorted(map(tuple, connection.execute(text(keys.format(table))).all())),
                    connection.execute(text(indexes.format(table))).scalar_one(),
                )
                for table in ("measurement", MONTHS[0])
            )
        assert of_month == of_parent
        assert [one[0] for one in of_parent[0] if one[0] in "pt"] == ["p", "t", "t"]


@pytest.mark.parametrize("mjd", [1e6, -5e5, 1e15, -1e300])
def test_a_time_far_away_is_stored_as_it_is(database: Database, mjd: float) -> None:
    append(database, add_frame(database), record(), columns(*stars(20), mjd=mjd), now=NOW)
    assert count(database, "measurement", f"mjd_mid = {mjd!r}") == 20
    assert len(_made(database)) == database.is_postgres
    assert not any(one.number for one in disagreements(database))


def test_a_frame_without_measurements_makes_no_partition(database: Database) -> None:
    append(database, add_frame(database), record(), columns(np.empty(0), np.empty(0), mjd=math.nan), now=NOW)
    assert _made(database) == []


def test_what_is_there_is_found_by_one_statement(full_postgres: str) -> None:
    statements: list[str] = []
    with Database(full_postgres) as database:
        ensure_partition(database, MJD)
        event.listen(
            database.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
        )
        ensure_partition(database, MJD + 1.0)
    assert len(statements) == 1
    assert statements[0].startswith("SELECT")


def test_an_append_that_fails_leaves_a_partition_that_the_next_one_uses(
    full_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("power cut")

    with Database(full_postgres) as database:
        with monkeypatch.context() as patched:
            patched.setattr(writer, "insert_measurements", die)
            with pytest.raises(RuntimeError):
                _append(database, MJD, "a")
        assert count(database, "measurement") == 0
        _append(database, MJD, "a")
        assert count(database, MONTHS[0]) == 20


def test_a_partition_that_was_taken_away_is_made_anew(full_postgres: str) -> None:
    with Database(full_postgres) as database:
        ensure_partition(database, MJD)
        with database.engine.begin() as connection:
            connection.execute(text(f"DROP TABLE {MONTHS[0]}"))
        _append(database, MJD, "a")
        assert count(database, MONTHS[0]) == 20


def test_a_reader_does_not_keep_a_new_month_waiting_nor_the_other_way_round(full_postgres: str) -> None:
    with Database(full_postgres, busy_seconds=1) as database:
        _append(database, MJD, "a")
        with database.session() as reader:
            rows = text("SELECT count(*) FROM measurement")
            assert reader.connection().execute(rows).scalar_one() == 20
            _append(database, MJD + 40.0, "b")
            # Its view is that of its first statement.
            assert reader.connection().execute(rows).scalar_one() == 20
        with database.session() as reader:
            assert reader.connection().execute(rows).scalar_one() == 40


def test_a_new_month_waits_for_no_writer_of_sources_and_reductions(full_postgres: str) -> None:
    """Nor do they for it: the retirement of a replaced file goes through both."""
    with Database(full_postgres, busy_seconds=1) as database:
        _append(database, MJD, "a")
        with database.write() as session:
            session.execute(text("UPDATE source SET n_obs = n_obs"))
            ensure_partition(database, MJD + 40.0)
            session.execute(text("UPDATE reduction SET current = current"))
        assert _made(database) == [*MONTHS[:2]]


def _append_in_process(url: str, number: int, frame_id: int) -> int:
    with Database(url) as database:
        mjd = MJD + 0.01 * number
        return append(database, frame_id, record(), columns(*stars(50), mjd=mjd), now=NOW).n_measurements


def test_processes_that_begin_a_month_at_once_make_one_partition(full_postgres: str) -> None:
    with Database(full_postgres) as database:
        frames = [add_frame(database, f"{number}.fits") for number in range(3)]
        written = in_processes(
            _append_in_process, [(database.url, number, one) for number, one in enumerate(frames)]
        )
        assert written == [50] * 3
        assert _made(database) == [MONTHS[0]]
        assert count(database, MONTHS[0]) == 150


def _values(database: Database) -> list[dict[str, Any]]:
    order = "SELECT * FROM measurement ORDER BY reduction_id, number, kind"
    with database.session() as session:
        return [dict(row) for row in session.connection().execute(text(order)).mappings()]


def test_rows_move_into_partitions_and_back(database: Database) -> None:
    for number, mjd in enumerate((MJD, MJD + 31.0, MJD + 75.25, 1e6)):
        _append(database, mjd, f"{number}")
    before, rest = _values(database), everything(database)
    database.downgrade("0004")
    assert _made(database) == []
    assert _values(database) == before
    database.upgrade()
    assert _made(database) == ([*MONTHS, "measurement_from_2150"] if database.is_postgres else [])
    assert _values(database) == before
    assert everything(database) == rest
    if database.is_postgres:
        assert [count(database, month) for month in MONTHS] == [20] * 3


def test_after_moving_keys_hold_and_appends_go_on(database: Database) -> None:
    _append(database, MJD, "a")
    database.downgrade("0004")
    database.upgrade()
    _append(database, MJD + 1.0, "b")
    _append(database, MJD + 40.0, "c")
    assert count(database, "source", "n_obs = 3") == 20
    with pytest.raises(Exception, match=r"(?i)foreign key"), database.write() as session:
        session.execute(text("UPDATE measurement SET source_id = 4711 WHERE number = 0"))
    with pytest.raises(Exception, match=r"(?i)unique"), database.write() as session:
        session.execute(text("UPDATE measurement SET number = 0"))
