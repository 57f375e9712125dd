"""No measurement without its reduction, nor with a source that is none: the foreign keys, on Postgres.

Postgres asks for the parents of each row by a statement of its own and writes a lock into the parent's row:
for the 6,000 stars of a frame that takes as long as everything else of the append. Here triggers ask once a
statement, as one join. What they see does not change until the transaction ends, for all of them take the
lock of the association, which appends hold anyway. SQLite has plain foreign keys.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, text

__all__ = ["guard", "guard_partition", "unguard"]

_FUNCTIONS = {
    "measurement_has_parents": """
        DECLARE orphan text;
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended('association', 0));
            SELECT format('source_id = %s', written.source_id) INTO orphan
            FROM written LEFT JOIN source ON source.id = written.source_id
            WHERE written.source_id IS NOT NULL AND source.id IS NULL LIMIT 1;
            IF orphan IS NULL THEN
                SELECT format('reduction_id = %s', one.reduction_id) INTO orphan
                FROM (SELECT DISTINCT reduction_id FROM written) AS one
                LEFT JOIN reduction ON reduction.id = one.reduction_id
                WHERE reduction.id IS NULL LIMIT 1;
            END IF;
            IF orphan IS NOT NULL THEN
                RAISE foreign_key_violation USING MESSAGE =
                    format('insert or update on table "measurement" violates a foreign key: %s', orphan);
            END IF;
            RETURN NULL;
        END""",
    "parent_has_no_measurement": """
        DECLARE measured bigint;
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended('association', 0));
            EXECUTE format('SELECT gone.id FROM gone WHERE EXISTS '
                '(SELECT 1 FROM measurement WHERE measurement.%I = gone.id) LIMIT 1', TG_ARGV[0])
            INTO measured;
            IF measured IS NOT NULL THEN
                RAISE foreign_key_violation USING MESSAGE = format(
                    'delete on table "%s" violates a foreign key: id = %s has measurements',
                    TG_TABLE_NAME, measured);
            END IF;
            RETURN NULL;
        END""",
    "parent_keeps_its_number": """
        BEGIN
            IF NEW.id IS DISTINCT FROM OLD.id THEN
                RAISE foreign_key_violation USING MESSAGE = format(
                    'update on table "%s" violates a foreign key: id = %s may have measurements',
                    TG_TABLE_NAME, OLD.id);
            END IF;
            RETURN NEW;
        END""",
}
_PARENTS = {"source": "source_id", "reduction": "reduction_id"}


def guard(connection: Connection, partitions: Iterable[str]) -> None:
    """Make the functions, and triggers on the measurements, their partitions and their parents."""
    for name, body in _FUNCTIONS.items():
        connection.execute(
            text(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
        )
    for table in ("measurement", *partitions):
        guard_partition(connection, table)
    for table, column in _PARENTS.items():
        _trigger(
            connection,
            "AFTER DELETE",
            table,
            "REFERENCING OLD TABLE AS gone FOR EACH STATEMENT",
            f"parent_has_no_measurement('{column}')",
        )
        _trigger(connection, "BEFORE UPDATE OF id", table, "FOR EACH ROW", "parent_keeps_its_number()")


def guard_partition(connection: Connection, table: str) -> None:
    """Do so for one partition: a statement that names it passes by the triggers of its parent."""
    for event in ("INSERT", "UPDATE"):
        _trigger(
            connection,
            f"AFTER {event}",
            table,
            "REFERENCING NEW TABLE AS written FOR EACH STATEMENT",
            "measurement_has_parents()",
        )


def unguard(connection: Connection) -> None:
    """Drop the functions, and the triggers with them."""
    for name in _FUNCTIONS:
        connection.execute(text(f"DROP FUNCTION IF EXISTS {name}() CASCADE"))


def _trigger(connection: Connection, when: str, table: str, rows: str, function: str) -> None:
    name = "_".join((table, *when.lower().split()[:2]))
    connection.execute(text(f"CREATE TRIGGER {name} {when} ON {table} {rows} EXECUTE FUNCTION {function}"))
