"""Room in the pages of the sources, on Postgres, so that counting observations touches no index.

Revision 0006, after 0005.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leave half of each page free from now on: a new count of a source then fits beside the old one."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE source SET (fillfactor = 50)")


def downgrade() -> None:
    """Fill the pages again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE source RESET (fillfactor)")
