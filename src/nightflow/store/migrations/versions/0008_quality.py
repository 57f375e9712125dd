"""What the table of a night says of each frame, and its grade.

Revision 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("gain", sa.Float()),
    ("sky_rms", sa.Float()),
    ("threshold", sa.Float()),
    ("n_photometry", sa.Integer()),
    ("n_saturated_pixels", sa.Integer()),
    ("n_saturated_sources", sa.Integer()),
    ("adu_rate_brightest", sa.Float()),
    ("adu_rate_median", sa.Float()),
    ("adu_rate_faintest", sa.Float()),
    ("fwhm_err_px", sa.Float()),
    ("n_fwhm_stars", sa.Integer()),
    ("trailing", sa.Float()),
    ("trailing_angle", sa.Float()),
    ("grade", sa.Text()),
    ("grade_reason", sa.Text()),
    ("verdict", sa.Text()),
)


def upgrade() -> None:
    """Add the columns; of reductions that are there they are unknown until they are done anew."""
    for name, kind in _COLUMNS:
        op.add_column("reduction", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    """Drop the columns, in place: measurements refer to the table."""
    for name, _ in _COLUMNS:
        op.drop_column("reduction", name)
