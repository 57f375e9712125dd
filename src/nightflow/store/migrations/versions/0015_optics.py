"""What a WCS was verified by, its stars, and the distortion that a camera's frames teach.

Revision 0015, after 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NUMBERS = {
    "wcs_n_expected": sa.Integer,
    "wcs_chance_matches": sa.Float,
    "wcs_log_false_alarm": sa.Float,
    "wcs_corner_rms_arcsec": sa.Float,
    "wcs_corner_err_arcsec": sa.Float,
    "hour_angle": sa.Float,
}


def upgrade() -> None:
    """Make tables and columns; reductions that are there have none of it until they are done anew."""
    for name, kind in _NUMBERS.items():
        op.add_column("reduction", sa.Column(name, kind(), nullable=True))
    op.add_column("reduction", sa.Column("wcs_distortion", sa.Text(), nullable=True))
    op.create_table(
        "wcs_stars",
        sa.Column(
            "reduction_id",
            sa.Integer(),
            sa.ForeignKey("reduction.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("optics", sa.Text(), nullable=False),
        sa.Column("corner_errors_arcsec", sa.JSON(), nullable=False),
        sa.Column("stars", sa.JSON(), nullable=False),
    )
    op.create_index("ix_wcs_stars_optics", "wcs_stars", ["optics"])
    op.create_table(
        "camera_distortion",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("optics", sa.Text(), nullable=False),
        sa.Column("parity", sa.Integer(), nullable=False),
        sa.Column("night", sa.String(), nullable=False),
        sa.Column("ny", sa.Integer(), nullable=False),
        sa.Column("nx", sa.Integer(), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("a", sa.JSON(), nullable=False),
        sa.Column("b", sa.JSON(), nullable=False),
        sa.Column("n_frames", sa.Integer(), nullable=False),
        sa.Column("scatter_px", sa.Float(), nullable=False),
        sa.Column("error_px", sa.Float(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("taught_by", sa.JSON(), nullable=False),
        sa.UniqueConstraint("optics", "parity", "night", name="uq_camera_distortion"),
    )


def downgrade() -> None:
    """Drop tables and columns, in place: measurements refer to the table of reductions."""
    op.drop_table("camera_distortion")
    op.drop_table("wcs_stars")
    op.drop_column("reduction", "wcs_distortion")
    for name in reversed(_NUMBERS):
        op.drop_column("reduction", name)
