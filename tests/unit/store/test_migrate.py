from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlmodel import SQLModel

from nightflow.store import migrate
from nightflow.store.database import Database
from nightflow.store.masters import add_master, masters
from nightflow.store.partitions import ensure_partition
from nightflow.store.targets import add_target, list_targets
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, add_frame, columns, count, later, partitions, record, stars
from tests.unit.store.test_masters import a_master


def _shape(connection: Connection) -> dict[str, Any]:
    """Return tables, columns, keys and indexes, with what each index is limited to."""
    inspector = inspect(connection)
    tables = sorted(set(inspector.get_table_names()) - {"alembic_version"} - set(partitions(connection)))
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"])
                for column in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
            "foreign keys": sorted(
                (key["constrained_columns"], key["referred_table"])
                for key in inspector.get_foreign_keys(table)
            ),
            "unique": sorted(one["column_names"] for one in inspector.get_unique_constraints(table)),
        }
        for table in tables
    } | {"indexes": _indexes(connection), "partitioned": _partitioned(connection)}


def _partitioned(connection: Connection) -> list[tuple[str, str]]:
    if connection.dialect.name == "sqlite":
        return []
    rows = connection.execute(
        text("SELECT partrelid::regclass::text, pg_get_partkeydef(partrelid) FROM pg_partitioned_table")
    )
    return [(table, key) for table, key in rows]


def _indexes(connection: Connection) -> list[str]:
    if connection.dialect.name == "sqlite":
        source = "SELECT sql, tbl_name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        source = "SELECT indexdef, tablename FROM pg_indexes WHERE schemaname = 'public'"
    rows = connection.execute(text(source)).all()
    return sorted(re.sub(r"\s+", " ", sql) for sql, table in rows if table != "alembic_version")


def test_migrations_make_the_tables_of_the_models(empty_url: str) -> None:
    with Database(empty_url) as database:
        with database.engine.begin() as connection:
            SQLModel.metadata.create_all(connection)
            wanted = _shape(connection)
            SQLModel.metadata.drop_all(connection)
        database.upgrade()
        with database.engine.begin() as connection:
            assert _shape(connection) == wanted


def _left_to_migrate(database: Database) -> list[Any]:
    """Return what the models have and the database has not, or the other way round.

    Partitions come and go with the frames: they are no tables of the models.
    """
    with database.engine.connect() as connection:
        made = set(partitions(connection))
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name not in made,
            # On Postgres triggers do what these would, see nightflow.store.parents.
            "include_object": lambda one, name, kind, *_: (
                kind != "foreign_key_constraint"
                or one.table.name != "measurement"
                or not database.is_postgres
            ),
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, SQLModel.metadata))


def test_nothing_is_left_to_migrate(database: Database) -> None:
    assert _left_to_migrate(database) == []
    ensure_partition(database, MJD)
    assert _left_to_migrate(database) == []


def test_what_is_left_to_migrate_is_seen(database: Database) -> None:
    ensure_partition(database, MJD)
    with database.engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_measurement_source"))
        connection.execute(text("CREATE TABLE measurement_1999_12 (id INTEGER)"))
    assert sorted(one[0] for one in _left_to_migrate(database)) == ["add_index", "remove_table"]


def test_measurements_are_partitioned_where_the_database_can(database: Database) -> None:
    with database.engine.connect() as connection:
        expected = [("measurement", "RANGE (mjd_mid)")] if database.is_postgres else []
        assert _partitioned(connection) == expected


def test_back_and_forth_with_rows_in_the_tables(database: Database) -> None:
    add_frame(database)
    add_target(database, "HAT-P-32", 31.0427, 46.6878)
    database.downgrade()
    with database.engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
    database.upgrade()
    assert list_targets(database) == []
    add_frame(database)
    assert count(database, "frame") == 1


def test_the_rotator_of_masters_comes_and_goes_and_the_masters_stay(database: Database) -> None:
    add_master(database, a_master(rotator=12.5), [])
    database.downgrade("0002")
    database.upgrade()
    (row,) = masters(database)
    assert (row.fingerprint, row.rotator) == ("f1", None)


def test_a_step_up_keeps_the_rows(database: Database) -> None:
    add_target(database, "HAT-P-32", 31.0427, 46.6878)
    database.upgrade("head")
    assert [target.name for target in list_targets(database)] == ["HAT-P-32"]


@pytest.mark.parametrize(
    "revision", ["0011", "0009", "0008", "0007", "0006", "0005", "0004", "0003", "0002", "0001"]
)
def test_each_step_down_and_up_keeps_the_rows(database: Database, revision: str) -> None:
    append(database, add_frame(database, mjd_mid=MJD), record(), columns(*stars(5), mjd=MJD), now=later(60))
    database.downgrade(revision)
    assert [count(database, table) for table in ("measurement", "reduction", "frame")] == [5, 1, 1]
    database.upgrade()
    assert [count(database, table) for table in ("measurement", "reduction", "frame")] == [5, 1, 1]


def test_files_of_migrations_begin_with_their_revisions() -> None:
    """By which a store that is up to date is known without alembic."""
    scripts = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations")).walk_revisions()
    newest, *older = [(Path(script.path).name.partition("_")[0], script.revision) for script in scripts]
    assert newest[1] == migrate.head()
    assert all(file == revision < newest[1] for file, revision in older)
    assert newest[0] == newest[1]


def test_a_store_that_is_up_to_date_is_left_alone_and_an_older_one_is_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, to: (asked.append(to), run(config, to)))
    database.upgrade()
    assert asked == []
    database.downgrade("0011")
    database.upgrade()
    assert asked == ["head"]
    database.upgrade()
    assert asked == ["head"]
