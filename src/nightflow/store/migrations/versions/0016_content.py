"""All exposures of one content, duplicates included, are found by an index.

Revision 0016, after 0015.
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index: each file that lands is looked up by its content."""
    op.create_index("ix_exposure_sha256", "exposure", ["sha256"])


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_exposure_sha256", table_name="exposure")
