"""The first schema: ledger, masters, reductions, light curves, targets.

Revision 0001, after none.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, those that others point at first."""
    _create_exposure()
    _create_master()
    _create_master_build()
    _create_source()
    _create_target()
    _create_frame()
    _create_master_input()
    _create_reduction()
    _create_measurement()


def downgrade() -> None:
    """Drop the tables, their indexes with them."""
    for table in (
        "measurement",
        "reduction",
        "master_input",
        "frame",
        "target",
        "source",
        "master_build",
        "master",
        "exposure",
    ):
        op.drop_table(table)


def _create_exposure() -> None:
    op.create_table(
        "exposure",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leased_by", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waits_for", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("prefect_run_id", sa.String(), nullable=True),
        sa.Column("plan_fingerprint", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_exposure_path", "exposure", ["path"], unique=False)
    op.create_index("ix_exposure_queue", "exposure", ["state", "priority", "received_at"], unique=False)
    op.create_index(
        "uq_exposure_sha256",
        "exposure",
        ["sha256"],
        unique=True,
        sqlite_where=sa.text("state != 'duplicate'"),
        postgresql_where=sa.text("state != 'duplicate'"),
    )


def _create_master() -> None:
    op.create_table(
        "master",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("instrument", sa.String(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("exptime", sa.Float(), nullable=False),
        sa.Column("ny", sa.Integer(), nullable=False),
        sa.Column("nx", sa.Integer(), nullable=False),
        sa.Column("binning", sa.String(), nullable=False),
        sa.Column("gain_setting", sa.Text(), nullable=False),
        sa.Column("readout_mode", sa.Text(), nullable=False),
        sa.Column("ccd_temp", sa.Float(), nullable=True),
        sa.Column("mjd_mid", sa.Float(), nullable=False),
        sa.Column("valid_from", sa.Float(), nullable=False),
        sa.Column("valid_until", sa.Float(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("n_inputs", sa.Integer(), nullable=False),
        sa.Column("statistics", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("fingerprint"),
    )
    op.create_index("ix_master_choice", "master", ["kind", "instrument", "detector", "state"], unique=False)


def _create_master_build() -> None:
    op.create_table(
        "master_build",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def _create_source() -> None:
    op.create_table(
        "source",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ra", sa.Float(), nullable=False),
        sa.Column("dec", sa.Float(), nullable=False),
        sa.Column("pmra", sa.Float(), nullable=False),
        sa.Column("pmdec", sa.Float(), nullable=False),
        sa.Column("epoch", sa.Float(), nullable=False),
        sa.Column("healpix", sa.BigInteger(), nullable=False),
        sa.Column("n_obs", sa.Integer(), nullable=False),
        sa.Column("catalog", sa.String(), nullable=False),
        sa.Column("catalog_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_source_healpix", "source", ["healpix"], unique=False)


def _create_target() -> None:
    op.create_table(
        "target",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ra", sa.Float(), nullable=True),
        sa.Column("dec", sa.Float(), nullable=True),
        sa.Column("pmra", sa.Float(), nullable=False),
        sa.Column("pmdec", sa.Float(), nullable=False),
        sa.Column("epoch", sa.Float(), nullable=False),
        sa.Column("ephemeris", sa.JSON(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def _create_frame() -> None:
    op.create_table(
        "frame",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("exposure_id", sa.Integer(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("hdu", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("instrument", sa.String(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("exptime", sa.Float(), nullable=False),
        sa.Column("date_obs", sa.Text(), nullable=False),
        sa.Column("mjd_mid", sa.Float(), nullable=True),
        sa.Column("ny", sa.Integer(), nullable=False),
        sa.Column("nx", sa.Integer(), nullable=False),
        sa.Column("binning", sa.String(), nullable=False),
        sa.Column("gain_setting", sa.Text(), nullable=False),
        sa.Column("readout_mode", sa.Text(), nullable=False),
        sa.Column("ccd_temp", sa.Float(), nullable=True),
        sa.Column("rotator", sa.Float(), nullable=True),
        sa.Column("ra", sa.Float(), nullable=True),
        sa.Column("dec", sa.Float(), nullable=True),
        sa.Column("airmass", sa.Float(), nullable=True),
        sa.Column("bias_included", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("traceback", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["exposure_id"], ["exposure.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("exposure_id", "detector", name="uq_frame_exposure_detector"),
    )
    op.create_index(
        "ix_frame_calibration", "frame", ["kind", "instrument", "detector", "mjd_mid"], unique=False
    )
    op.create_index("ix_frame_exposure_id", "frame", ["exposure_id"], unique=False)
    op.create_index("ix_frame_mjd_mid", "frame", ["mjd_mid"], unique=False)


def _create_master_input() -> None:
    op.create_table(
        "master_input",
        sa.Column("master_id", sa.Integer(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["frame_id"], ["frame.id"]),
        sa.ForeignKeyConstraint(["master_id"], ["master.id"]),
        sa.PrimaryKeyConstraint("master_id", "frame_id"),
    )


def _create_reduction() -> None:
    op.create_table(
        "reduction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("software", sa.String(), nullable=False),
        sa.Column("plan_fingerprint", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("masters", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("timings", sa.JSON(), nullable=False),
        sa.Column("fwhm_px", sa.Float(), nullable=True),
        sa.Column("ellipticity", sa.Float(), nullable=True),
        sa.Column("sky", sa.Float(), nullable=True),
        sa.Column("n_sources", sa.Integer(), nullable=True),
        sa.Column("n_cosmic", sa.Integer(), nullable=True),
        sa.Column("wcs", sa.Text(), nullable=False),
        sa.Column("wcs_backend", sa.String(), nullable=True),
        sa.Column("wcs_quality", sa.String(), nullable=False),
        sa.Column("wcs_rms_arcsec", sa.Float(), nullable=True),
        sa.Column("wcs_heldout_rms_arcsec", sa.Float(), nullable=True),
        sa.Column("wcs_n_matched", sa.Integer(), nullable=True),
        sa.Column("ra_center", sa.Float(), nullable=True),
        sa.Column("dec_center", sa.Float(), nullable=True),
        sa.Column("scale", sa.Float(), nullable=True),
        sa.Column("rotation", sa.Float(), nullable=True),
        sa.Column("parity", sa.Integer(), nullable=True),
        sa.Column("zp", sa.Float(), nullable=True),
        sa.Column("zp_adu", sa.Float(), nullable=True),
        sa.Column("zp_err", sa.Float(), nullable=True),
        sa.Column("zp_scatter", sa.Float(), nullable=True),
        sa.Column("zp_n_stars", sa.Integer(), nullable=True),
        sa.Column("zp_catalog", sa.String(), nullable=True),
        sa.Column("zp_band", sa.String(), nullable=True),
        sa.Column("mag_system", sa.String(), nullable=True),
        sa.Column("color_term", sa.Float(), nullable=True),
        sa.Column("depth_5sigma", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["frame_id"], ["frame.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("frame_id", "version", name="uq_reduction_version"),
    )
    op.create_index("ix_reduction_frame_id", "reduction", ["frame_id"], unique=False)
    op.create_index(
        "uq_reduction_current",
        "reduction",
        ["frame_id"],
        unique=True,
        sqlite_where=sa.text("current"),
        postgresql_where=sa.text("current"),
    )


def _create_measurement() -> None:
    op.create_table(
        "measurement",
        sa.Column("reduction_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("mjd_mid", sa.Float(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("association", sa.Integer(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("bjd_tdb", sa.Float(), nullable=True),
        sa.Column("flux", sa.Float(), nullable=False),
        sa.Column("flux_err", sa.Float(), nullable=False),
        sa.Column("mag", sa.Float(), nullable=True),
        sa.Column("mag_err", sa.Float(), nullable=True),
        sa.Column("x", sa.Float(), nullable=False),
        sa.Column("y", sa.Float(), nullable=False),
        sa.Column("ra", sa.Float(), nullable=True),
        sa.Column("dec", sa.Float(), nullable=True),
        sa.Column("fwhm_px", sa.Float(), nullable=True),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["reduction_id"], ["reduction.id"]),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"]),
        sa.PrimaryKeyConstraint("reduction_id", "number", "kind", "mjd_mid"),
    )
    op.create_index("ix_measurement_source", "measurement", ["source_id", "mjd_mid"], unique=False)
