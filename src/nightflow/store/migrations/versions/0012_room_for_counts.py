"""Room in each page of the sources for the counts of observations that every frame changes (Postgres).

Without it a new version of a row goes to another page, and each index gets an entry for it: that takes three
times as long. Pages that are full get the room as their rows move.

Revision 0012, after 0011.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leave half of each page free."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE source SET (fillfactor = 50)")


def downgrade() -> None:
    """Fill pages as Postgres does by itself."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE source RESET (fillfactor)")
