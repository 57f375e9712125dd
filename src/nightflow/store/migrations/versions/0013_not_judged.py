"""Whether a source lies near the edge, and whether it is as wide as a star: then it is not said to vary.

Revision 0013, after 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of statistics that are there they are not known until the next `finish`."""
    op.add_column("source_statistics", sa.Column("near_edge", sa.Float(), nullable=False, server_default="0"))
    op.add_column("source_statistics", sa.Column("width", sa.Float(), nullable=True))


def downgrade() -> None:
    """Drop the columns, in place."""
    for name in ("width", "near_edge"):
        op.drop_column("source_statistics", name)
