"""Deaths of workers and of services counted apart, and since when an exposure waits.

Revision 0014, after 0013.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was counted as attempts so far were deaths of the service."""
    op.add_column("exposure", sa.Column("service_deaths", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("exposure", sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE exposure SET queued_at = received_at")
    op.execute("UPDATE exposure SET service_deaths = attempts, attempts = 0 WHERE attempts > 0")


def downgrade() -> None:
    """Drop the columns, in place: frames refer to the table."""
    op.execute("UPDATE exposure SET attempts = attempts + service_deaths")
    op.drop_column("exposure", "queued_at")
    op.drop_column("exposure", "service_deaths")
