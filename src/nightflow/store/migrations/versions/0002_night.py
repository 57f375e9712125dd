"""Each frame's night, so that a night's frames are found without opening their files.

Revision 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; rows that are there get theirs when they are identified again."""
    op.add_column("frame", sa.Column("night", sa.String(), nullable=False, server_default=""))
    op.create_index("ix_frame_night", "frame", ["night"], unique=False)


def downgrade() -> None:
    """Drop the column."""
    op.drop_index("ix_frame_night", "frame")
    op.drop_column("frame", "night")
