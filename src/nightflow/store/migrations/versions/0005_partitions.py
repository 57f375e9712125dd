"""Measurements in partitions by month, on Postgres; SQLite has none.

Revision 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

# The names must be those that appends look for.
from nightflow.store.partitions import partition_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COPY = "INSERT INTO measurement SELECT * FROM measurement_before"


def upgrade() -> None:
    """Move the rows into a partitioned table, with a partition for each month that they need."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.rename_table("measurement", "measurement_before")
    op.execute("CREATE TABLE measurement (LIKE measurement_before) PARTITION BY RANGE (mjd_mid)")
    _create_partitions()
    op.execute(_COPY)
    op.drop_table("measurement_before")
    _add_keys()


def downgrade() -> None:
    """Move the rows into one plain table."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.rename_table("measurement", "measurement_before")
    op.execute("CREATE TABLE measurement (LIKE measurement_before)")
    op.execute(_COPY)
    op.drop_table("measurement_before")
    _add_keys()


def _create_partitions() -> None:
    days = op.get_bind().scalars(sa.text("SELECT DISTINCT floor(mjd_mid) FROM measurement_before")).all()
    for partition in sorted({partition_of(day) for day in days}, key=lambda one: one.name):
        op.execute(f"CREATE TABLE {partition.name} PARTITION OF measurement {partition.bounds}")


def _add_keys() -> None:
    """Add keys and index after the rows: they are built in one go."""
    op.create_primary_key("measurement_pkey", "measurement", ["reduction_id", "number", "kind", "mjd_mid"])
    for column, table in (("reduction_id", "reduction"), ("source_id", "source")):
        op.create_foreign_key(f"measurement_{column}_fkey", "measurement", table, [column], ["id"])
    op.create_index("ix_measurement_source", "measurement", ["source_id", "mjd_mid"], unique=False)
