"""What landed last, or since a moment, and what no run shows is found by an index.

Revision 0017, after 0016.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_UNSHOWN = sa.text("prefect_run_id = ''")


def upgrade() -> None:
    """Make the indexes: a live service asks each minute."""
    op.create_index("ix_exposure_received_at", "exposure", ["received_at"])
    op.create_index(
        "ix_exposure_unshown", "exposure", ["done_at"], sqlite_where=_UNSHOWN, postgresql_where=_UNSHOWN
    )


def downgrade() -> None:
    """Drop the indexes."""
    op.drop_index("ix_exposure_unshown", table_name="exposure")
    op.drop_index("ix_exposure_received_at", table_name="exposure")
