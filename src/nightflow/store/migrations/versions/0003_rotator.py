"""The rotator of each master, by which flats are matched where it matters.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of masters that are there the rotator is unknown."""
    op.add_column("master", sa.Column("rotator", sa.Float(), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("master", "rotator")
