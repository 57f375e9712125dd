"""What was done to a frame before it came here: such steps need no master.

Revision 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; frames that are there count as raw until they are identified anew."""
    op.add_column("frame", sa.Column("steps_done", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the column, in place: measurements refer to the table."""
    op.drop_column("frame", "steps_done")
