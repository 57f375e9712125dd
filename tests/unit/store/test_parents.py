"""No measurement without its reduction or with a source that is none, whichever way it is written."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from nightflow.store.consistency import recount
from nightflow.store.database import Database, serialise
from nightflow.store.frames import record_frames
from nightflow.store.ledger import receive
from nightflow.store.sources import count_observation
from nightflow.store.supersede import supersede_replaced
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, add_frame, columns, count, header, later, record, sha, stars

NOW = later(60)
_ROW = (
    "INSERT INTO {table} (reduction_id, number, kind, mjd_mid, source_id, association, filter, flux,"
    " flux_err, x, y, flags) VALUES ({reduction}, 900, 'aperture', {mjd}, {source}, 1, 'V', 1, 1, 1, 1, 0)"
)


@pytest.fixture
def filled(database: Database) -> Database:
    frame_id = add_frame(database, mjd_mid=MJD)
    append(database, frame_id, record(), columns(*stars(20), mjd=MJD), now=NOW)
    return database


def _run(database: Database, statement: str) -> None:
    with database.write() as session:
        session.connection().exec_driver_sql(statement)


def _measured(database: Database, what: str) -> int:
    with database.session() as session:
        return session.connection().execute(text(f"SELECT min({what}) FROM measurement")).scalar_one()


@pytest.mark.parametrize(
    "statement",
    [
        _ROW.format(table="measurement", reduction="1", mjd=MJD, source="4711"),
        _ROW.format(table="measurement", reduction="77", mjd=MJD, source="NULL"),
        "UPDATE measurement SET source_id = 4711 WHERE number = 3",
        "UPDATE measurement SET reduction_id = 77 WHERE number = 3",
        "DELETE FROM source",
        "DELETE FROM reduction",
        "UPDATE source SET id = id + 1000000",
        "UPDATE reduction SET id = id + 1000000",
    ],
)
def test_what_would_leave_a_measurement_alone_is_refused(filled: Database, statement: str) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        _run(filled, statement)
    assert count(filled, "measurement", "source_id IS NOT NULL") == 20


def test_the_message_names_the_number(full_postgres: str) -> None:
    with Database(full_postgres) as database:
        append(database, add_frame(database, mjd_mid=MJD), record(), columns(*stars(2), mjd=MJD), now=NOW)
        with pytest.raises(IntegrityError, match="source_id = 4711"):
            _run(database, "UPDATE measurement SET source_id = 4711")
        source = _measured(database, "source_id")
        with pytest.raises(IntegrityError, match=f"id = {source} has measurements"):
            _run(database, f"DELETE FROM source WHERE id = {source}")


def test_nor_by_naming_the_month(full_postgres: str) -> None:
    with Database(full_postgres) as database:
        append(database, add_frame(database, mjd_mid=MJD), record(), columns(*stars(2), mjd=MJD), now=NOW)
        month = _ROW.format(table="measurement_2026_03", reduction="1", mjd=MJD, source="4711")
        with pytest.raises(IntegrityError, match="foreign key"):
            _run(database, month)


def test_what_leaves_none_alone_is_done(filled: Database) -> None:
    _run(filled, "INSERT INTO source (id, ra, dec, pmra, pmdec, epoch, healpix, n_obs, catalog, catalog_id,"
         " n_position) VALUES (4711, 1, 1, 0, 0, 2000, 1, 0, '', '', 0)")  # fmt: skip
    _run(filled, "UPDATE measurement SET source_id = 4711 WHERE number = 3")
    _run(filled, "UPDATE measurement SET source_id = NULL WHERE number = 3")
    _run(filled, "DELETE FROM source WHERE id = 4711")
    _run(filled, "DELETE FROM measurement")
    _run(filled, "DELETE FROM source")
    _run(filled, "DELETE FROM reduction")
    assert count(filled, "source") == 0


def test_a_source_cannot_go_while_a_frame_is_put_to_it(full_postgres: str) -> None:
    """The two wait for each other, and the second sees what the first one did."""
    with Database(full_postgres, busy_seconds=20) as database:
        append(database, add_frame(database, mjd_mid=MJD), record(), columns(*stars(2), mjd=MJD), now=NOW)
        _run(database, "UPDATE measurement SET source_id = NULL")
        with database.session() as session:
            source = session.connection().execute(text("SELECT min(id) FROM source")).scalar_one()
        refused: list[BaseException] = []

        def delete() -> None:
            try:
                _run(database, f"DELETE FROM source WHERE id = {source}")
            except IntegrityError as error:
                refused.append(error)

        with database.write() as session:
            session.connection().exec_driver_sql(f"UPDATE measurement SET source_id = {source}")
            thread = threading.Thread(target=delete)
            thread.start()
            thread.join(0.5)
            assert thread.is_alive()
        thread.join(20)
        assert len(refused) == 1
        assert count(database, "source", f"id = {source}") == 1


@pytest.mark.parametrize(
    "change", [recount, lambda database: supersede_replaced(database, 1, lambda _: None, now=NOW)]
)
def test_counts_are_changed_by_one_at_a_time(
    full_postgres: str, change: Callable[[Database], object]
) -> None:
    """Else an append that commits between the counting and the writing would not be in the count."""
    with Database(full_postgres, busy_seconds=20) as database:
        append(database, add_frame(database, mjd_mid=MJD), record(), columns(*stars(2), mjd=MJD), now=NOW)
        corrected = receive(database, "/data/a.fits", sha("corrected"), 1000, now=NOW).exposure_id
        record_frames(database, corrected, [header(mjd_mid=MJD)])
        thread = threading.Thread(target=change, args=(database,))
        with database.write() as session:
            serialise(session, "association")
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        thread.join(20)
        assert not thread.is_alive()


def test_a_reader_has_one_view(full_postgres: str) -> None:
    with Database(full_postgres) as database:
        add_frame(database, "a")
        number = text("SELECT count(*) FROM frame")
        with database.session() as session:
            assert session.execute(number).scalar_one() == 1
            add_frame(database, "b")
            assert session.execute(number).scalar_one() == 1
        assert count(database, "frame") == 2


def test_the_keys_come_back_with_the_migration_undone(filled: Database) -> None:
    filled.downgrade("0006")
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        _run(filled, "UPDATE measurement SET source_id = 4711")
    filled.upgrade()
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        _run(filled, "UPDATE measurement SET source_id = 4711")
    with filled.write() as session:
        count_observation(session, 1, +1)
    assert count(filled, "source", "n_obs = 2") == 20
