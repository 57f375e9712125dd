"""The photometry of a night: extinction, colour term, zero points; where a frame's own came from.

Revision 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and the columns, unknown for reductions that are there until they are done anew."""
    op.add_column("reduction", sa.Column("color_term_err", sa.Float(), nullable=True))
    op.add_column("reduction", sa.Column("zp_origin", sa.Text(), nullable=True))
    op.create_table(
        "night_solution",
        sa.Column("id", sa.Integer(), primary_key=True),
        *(
            sa.Column(name, kind, nullable=False)
            for name, kind in (
                ("night", sa.String()),
                ("instrument", sa.String()),
                ("detector", sa.Text()),
                ("filter", sa.Text()),
                ("catalog", sa.Text()),
                ("band", sa.String()),
                ("mag_system", sa.String()),
                ("color", sa.String()),
                ("n_frames", sa.Integer()),
                ("n_clear", sa.Integer()),
                ("n_stars", sa.Integer()),
                ("n_measurements", sa.Integer()),
                ("n_rejected", sa.Integer()),
            )
        ),
        sa.Column("color_term", sa.Float(), nullable=True),
        sa.Column("color_term_err", sa.Float(), nullable=True),
        sa.Column("color_extinction", sa.Float(), nullable=True),
        sa.Column("color_extinction_err", sa.Float(), nullable=True),
        sa.Column("pivot", sa.Float(), nullable=False),
        sa.Column("extinction", sa.Float(), nullable=True),
        sa.Column("extinction_err", sa.Float(), nullable=True),
        sa.Column("extinction_color", sa.Float(), nullable=False),
        sa.Column("zp", sa.Float(), nullable=False),
        sa.Column("zp_err", sa.Float(), nullable=False),
        sa.Column("transparency_scatter", sa.Float(), nullable=False),
        sa.Column("star_scatter", sa.Float(), nullable=False),
        sa.Column("noise", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.UniqueConstraint("night", "instrument", "detector", "filter", name="uq_night_solution"),
    )
    op.create_table(
        "night_zero_point",
        sa.Column(
            "reduction_id",
            sa.Integer(),
            sa.ForeignKey("reduction.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column(
            "solution_id",
            sa.Integer(),
            sa.ForeignKey("night_solution.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("zp", sa.Float(), nullable=False),
        sa.Column("zp_err", sa.Float(), nullable=False),
        sa.Column("zp_err_own", sa.Float(), nullable=False),
        sa.Column("loss", sa.Float(), nullable=True),
    )
    op.create_index("ix_night_zero_point_solution_id", "night_zero_point", ["solution_id"])


def downgrade() -> None:
    """Drop the tables and the columns."""
    op.drop_table("night_zero_point")
    op.drop_table("night_solution")
    op.drop_column("reduction", "zp_origin")
    op.drop_column("reduction", "color_term_err")
