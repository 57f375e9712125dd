"""Sources with names that follow from their content, their history and statistics; bodies that move.

Revision 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SourceId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Widen the numbers of sources, add columns and tables; rows that are there keep their numbers."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE measurement ALTER COLUMN source_id TYPE BIGINT")
        op.execute("ALTER TABLE source ALTER COLUMN id TYPE BIGINT")
        op.execute("ALTER TABLE source ALTER COLUMN id DROP DEFAULT")
        op.execute("DROP SEQUENCE source_id_seq")
    op.add_column("source", sa.Column("n_position", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("measurement", sa.Column("position_err", sa.Float(), nullable=True))
    _create_source_history()
    _create_source_statistics()
    _create_mover()


def downgrade() -> None:
    """Drop tables and columns; the numbers of sources stay as wide as they are."""
    for name in ("mover_detection", "mover", "source_statistics", "source_history"):
        op.drop_table(name)
    op.drop_column("measurement", "position_err")
    op.drop_column("source", "n_position")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE source_id_seq OWNED BY source.id")
        op.execute("SELECT setval('source_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM source), false)")
        op.execute("ALTER TABLE source ALTER COLUMN id SET DEFAULT nextval('source_id_seq')")


def _create_source_history() -> None:
    op.create_table(
        "source_history",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("became", sa.BigInteger(), nullable=True),
        sa.Column("change", sa.String(), nullable=False),
        sa.Column("n_measurements", sa.Integer(), nullable=False),
        sa.Column("night", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_source_history_source", "source_history", ["source_id"], unique=False)
    op.create_index("ix_source_history_night", "source_history", ["night"], unique=False)


def _create_source_statistics() -> None:
    op.create_table(
        "source_statistics",
        sa.Column("source_id", SourceId, nullable=False),
        sa.Column("instrument", sa.String(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("mjd_first", sa.Float(), nullable=False),
        sa.Column("mjd_last", sa.Float(), nullable=False),
        sa.Column("mag", sa.Float(), nullable=True),
        sa.Column("mag_err", sa.Float(), nullable=False),
        sa.Column("scatter", sa.Float(), nullable=False),
        sa.Column("expected_scatter", sa.Float(), nullable=True),
        sa.Column("excess", sa.Float(), nullable=True),
        sa.Column("chi2_dof", sa.Float(), nullable=False),
        sa.Column("stetson_j", sa.Float(), nullable=True),
        sa.Column("von_neumann", sa.Float(), nullable=True),
        sa.Column("amplitude", sa.Float(), nullable=False),
        sa.Column("contaminated", sa.Float(), nullable=False),
        sa.Column("variable", sa.Boolean(), nullable=False),
        sa.Column("period", sa.Float(), nullable=True),
        sa.Column("period_err", sa.Float(), nullable=True),
        sa.Column("period_fap", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"]),
        sa.PrimaryKeyConstraint("source_id", "instrument", "filter", "kind"),
    )
    op.create_index(
        "ix_source_statistics_variable", "source_statistics", ["variable", "excess"], unique=False
    )


def _create_mover() -> None:
    op.create_table(
        "mover",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("night", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("instrument", sa.String(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mjd", sa.Float(), nullable=False),
        sa.Column("ra", sa.Float(), nullable=False),
        sa.Column("dec", sa.Float(), nullable=False),
        sa.Column("rate_ra", sa.Float(), nullable=False),
        sa.Column("rate_ra_err", sa.Float(), nullable=False),
        sa.Column("rate_dec", sa.Float(), nullable=False),
        sa.Column("rate_dec_err", sa.Float(), nullable=False),
        sa.Column("position_angle", sa.Float(), nullable=False),
        sa.Column("position_angle_err", sa.Float(), nullable=False),
        sa.Column("rms_arcsec", sa.Float(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("n_frames", sa.Integer(), nullable=False),
        sa.Column("false_alarm", sa.Float(), nullable=False),
        sa.Column("mag", sa.Float(), nullable=True),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("night", "number", name="uq_mover_night"),
    )
    op.create_table(
        "mover_detection",
        sa.Column("mover_id", sa.Integer(), nullable=False),
        sa.Column("reduction_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["mover_id"], ["mover.id"]),
        sa.ForeignKeyConstraint(["reduction_id"], ["reduction.id"]),
        sa.PrimaryKeyConstraint("mover_id", "reduction_id"),
    )
