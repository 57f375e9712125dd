"""The catalogue of each WCS: reports of places name it.

Revision 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of reductions that are there it is unknown."""
    op.add_column("reduction", sa.Column("wcs_catalog", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop the column, in place: measurements refer to the table."""
    op.drop_column("reduction", "wcs_catalog")
