"""Objects on the sky, what was measured of them, and what follows from it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
)
from sqlmodel import Field, SQLModel, col

from nightflow.store.models.column_types import PlainText, SourceId, UtcDateTime

__all__ = ["Measurement", "Source", "SourceHistory", "SourceStatistics", "Target", "is_detection"]


class Source(SQLModel, table=True):
    """One object on the sky, over all its nights.

    One that was detected once and stands in no catalogue is not confirmed: it may be a moving body or noise.
    """

    __tablename__ = "source"
    __table_args__ = (Index("ix_source_healpix", "healpix"),)

    id: int | None = Field(
        default=None, sa_column=Column(SourceId, primary_key=True, autoincrement=False, nullable=False)
    )
    """Follows from the content of its first detection, see `nightflow.store.source_names`."""
    ra: float
    dec: float
    pmra: float = 0.0
    pmdec: float = 0.0
    epoch: float = 2000.0
    """Julian year of ``ra``, ``dec``."""
    healpix: int = Field(sa_type=BigInteger)
    """Nested, order 14, ICRS."""
    n_obs: int = 0
    """Current reductions on which it was detected."""
    catalog: str = ""
    catalog_id: str = Field(default="", sa_type=PlainText)
    n_position: int = 0
    """Detections of one night whose median its place is; 0: no night's association has settled it yet."""


class Measurement(SQLModel, table=True):
    """One source on one frame; on Postgres a table a month, see `nightflow.store.partitions`."""

    __tablename__ = "measurement"
    __table_args__ = (
        Index("ix_measurement_source", "source_id", "mjd_mid"),
        # On Postgres triggers see to both, see `nightflow.store.parents`.
        ForeignKeyConstraint(["reduction_id"], ["reduction.id"]).ddl_if(dialect="sqlite"),
        ForeignKeyConstraint(["source_id"], ["source.id"]).ddl_if(dialect="sqlite"),
        {"postgresql_partition_by": "RANGE (mjd_mid)"},
    )

    reduction_id: int = Field(primary_key=True)
    number: int = Field(primary_key=True)
    """Detection number on the frame, from 0; below 0 for forced apertures, which are no detections."""
    kind: str = Field(primary_key=True)
    """aperture, psf or forced."""
    mjd_mid: float = Field(primary_key=True)
    """Part of the key because Postgres partitions by it."""
    source_id: int | None = Field(default=None, sa_column=Column(SourceId, nullable=True))
    association: int = 0
    """Version of the association that gave ``source_id``; 0: none has looked at it yet. Which one did depends
    on what came first: the night's association leaves alone what was right already."""
    filter: str = Field(sa_type=PlainText)
    bjd_tdb: float | None = None
    flux: float
    """Electrons per second."""
    flux_err: float
    mag: float | None = None
    mag_err: float | None = None
    x: float
    y: float
    ra: float | None = None
    dec: float | None = None
    fwhm_px: float | None = None
    flags: int = 0
    position_err: float | None = None
    """Arcsec along each axis, from the photon and read noise of the centroid; without that of the WCS."""


def is_detection() -> ColumnElement[bool]:
    """Return the condition that a measurement is one of what was detected, not an aperture put on a place."""
    return col(Measurement.number) >= 0


class SourceHistory(SQLModel, table=True):
    """What became of a source that is no longer the one it was."""

    __tablename__ = "source_history"
    __table_args__ = (
        Index("ix_source_history_source", "source_id"),
        Index("ix_source_history_night", "night"),
    )

    id: int | None = Field(default=None, primary_key=True)
    source_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    """As it was called; its row may be gone."""
    became: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    """The source that has its measurements now; null: none has."""
    change: str
    """renamed, merged, split or dissolved."""
    n_measurements: int
    """How many went there."""
    night: str
    """Whose association found it."""
    at: datetime = Field(sa_type=UtcDateTime)


class SourceStatistics(SQLModel, table=True):
    """How a source behaved in one filter of one camera, over all its nights."""

    __tablename__ = "source_statistics"
    __table_args__ = (Index("ix_source_statistics_variable", "variable", "excess"),)

    source_id: int = Field(sa_column=Column(SourceId, ForeignKey("source.id"), primary_key=True))
    instrument: str = Field(primary_key=True)
    filter: str = Field(primary_key=True, sa_type=PlainText)
    kind: str = Field(primary_key=True)
    """aperture, psf or forced."""
    n: int
    """Usable measurements."""
    mjd_first: float
    mjd_last: float
    mag: float | None = None
    """Median of those that are calibrated."""
    mag_err: float
    """Median error of one measurement."""
    scatter: float
    """Robust standard deviation of one measurement, magnitudes (1.4826 times the MAD)."""
    expected_scatter: float | None = None
    """What its neighbours of the same brightness scatter."""
    excess: float | None = None
    """Scatter above that, in units of the neighbours' own spread."""
    chi2_dof: float
    stetson_j: float | None = None
    von_neumann: float | None = None
    amplitude: float
    """Between the 5th and the 95th percentile, magnitudes."""
    contaminated: float = 0.0
    """Part of the measurements that hold light of a neighbour; above a quarter nothing is said to vary."""
    variable: bool = False
    period: float | None = None
    """Days."""
    period_err: float | None = None
    period_fap: float | None = None
    """Probability that noise alone gives a peak as high."""
    near_edge: float = 0.0
    """Part of the measurements near the frame's edge; above a quarter nothing is said to vary."""
    width: float | None = None
    """Median FWHM in that of the frames' stars; above 1.3 nothing is said to vary."""


class Target(SQLModel, table=True):
    """Something an observer cares for: fixed, or moving by an ephemeris."""

    __tablename__ = "target"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True, sa_type=PlainText)
    ra: float | None = None
    dec: float | None = None
    pmra: float = 0.0
    pmdec: float = 0.0
    epoch: float = 2000.0
    ephemeris: list[list[float]] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    """Rows of (mjd, ra, dec), ascending in mjd."""
    type: str = Field(default="", sa_type=PlainText)
    notes: str = Field(default="", sa_type=PlainText)
