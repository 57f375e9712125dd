"""The foreign keys of the measurements, asked once a statement and not once a row, on Postgres.

Revision 0007, after 0006.
"""

from __future__ import annotations

from alembic import op

from nightflow.store.parents import guard, unguard
from nightflow.store.partitions import names

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_PARENTS = (("reduction_id", "reduction"), ("source_id", "source"))


def upgrade() -> None:
    """Let triggers see to it that no measurement is without its reduction or its source."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for column, _ in _PARENTS:
        op.drop_constraint(f"measurement_{column}_fkey", "measurement", type_="foreignkey")
    guard(op.get_bind(), names(op.get_bind()))


def downgrade() -> None:
    """Have the database ask for each row again."""
    if op.get_bind().dialect.name != "postgresql":
        return
    unguard(op.get_bind())
    for column, table in _PARENTS:
        op.create_foreign_key(f"measurement_{column}_fkey", "measurement", table, [column], ["id"])
