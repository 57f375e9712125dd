"""A file is known again by its own times, not by when it was received: clocks differ, and files are touched.

Revision 0018, after 0017.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_COLUMNS = ("mtime_ns", "ctime_ns")


def upgrade() -> None:
    """Add the columns; what was received before is known by when that was."""
    for name in _COLUMNS:
        op.add_column("exposure", sa.Column(name, sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Drop the columns."""
    for name in _COLUMNS:
        op.drop_column("exposure", name)
