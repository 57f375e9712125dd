"""The tables. The ledger (exposure, frame) is the truth; Prefect executes and shows."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, Dialect, Index, Text, UniqueConstraint, text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

__all__ = [
    "Exposure",
    "Frame",
    "Master",
    "MasterBuild",
    "MasterInput",
    "Measurement",
    "PlainText",
    "Priority",
    "Reduction",
    "Source",
    "State",
    "Target",
    "UtcDateTime",
    "plain_text",
]


class State(StrEnum):
    """Where an exposure or a frame stands; all but the first two are terminal."""

    RECEIVED = "received"
    REDUCING = "reducing"
    DONE = "done"
    HELD = "held"
    REJECTED = "rejected"
    FAILED = "failed"
    DUPLICATE = "duplicate"


class Priority:
    """Smaller is more urgent."""

    LIVE = 0
    REDO = 10
    BACKFILL = 20


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time, also where the database (SQLite) keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive time {value!r}: give it a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(TypeDecorator[str]):
    r"""Text from outside, stored and shown as text whatever stands in it.

    Postgres refuses NUL, and no database takes half a surrogate pair (Python's mark of a file name that is
    not UTF-8): both are written as an escape (``\x00``, ``\udcff``).
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape what no database can hold."""
        return None if value is None else plain_text(value)


def plain_text(value: str) -> str:
    """Return ``value`` with NUL and lone surrogates written as escapes."""
    return value.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


class Exposure(SQLModel, table=True):
    """One opening of the shutter: one file."""

    __tablename__ = "exposure"
    __table_args__ = (
        # One live row a content; re-deliveries are kept as rows in state `duplicate`.
        Index(
            "uq_exposure_sha256",
            "sha256",
            unique=True,
            sqlite_where=text("state != 'duplicate'"),
            postgresql_where=text("state != 'duplicate'"),
        ),
        Index("ix_exposure_queue", "state", "priority", "received_at"),
        Index("ix_exposure_path", "path"),
    )

    id: int | None = Field(default=None, primary_key=True)
    path: str = Field(sa_type=PlainText)
    sha256: str
    size: int = Field(sa_type=BigInteger)
    state: str = State.RECEIVED
    reason: str = Field(default="", sa_type=PlainText)
    priority: int = Priority.LIVE
    attempts: int = 0
    leased_by: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    waits_for: str = ""
    """What a held exposure waits for: "bias", "dark", "flat", "wcs", "profile", ..."""
    received_at: datetime = Field(sa_type=UtcDateTime)
    done_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    prefect_run_id: str | None = None
    plan_fingerprint: str = ""
    """What the last conclusion rests on (profile, software; for a held exposure also catalogues and
    calibrations at hand): the exposure is reduced again when it changes."""


class Frame(SQLModel, table=True):
    """One detector's readout in an exposure, with its normalised header."""

    __tablename__ = "frame"
    __table_args__ = (
        UniqueConstraint("exposure_id", "detector", name="uq_frame_exposure_detector"),
        Index("ix_frame_calibration", "kind", "instrument", "detector", "mjd_mid"),
    )

    id: int | None = Field(default=None, primary_key=True)
    exposure_id: int = Field(foreign_key="exposure.id", index=True)
    detector: str = Field(sa_type=PlainText)
    hdu: int
    kind: str
    instrument: str
    object: str = Field(default="", sa_type=PlainText)
    filter: str = Field(default="", sa_type=PlainText)
    exptime: float
    date_obs: str = Field(default="", sa_type=PlainText)
    mjd_mid: float | None = Field(default=None, index=True)
    ny: int
    nx: int
    binning: str = "1x1"
    gain_setting: str = Field(default="", sa_type=PlainText)
    readout_mode: str = Field(default="", sa_type=PlainText)
    ccd_temp: float | None = None
    rotator: float | None = None
    ra: float | None = None
    dec: float | None = None
    airmass: float | None = None
    bias_included: bool = True
    state: str = State.RECEIVED
    reason: str = Field(default="", sa_type=PlainText)
    traceback: str = Field(default="", sa_type=PlainText)
    night: str = Field(default="", index=True)
    """Date of the evening at the site, see `nightflow.nights`; "" without a time."""


class Master(SQLModel, table=True):
    """A master calibration: a FITS file with a fingerprint."""

    __tablename__ = "master"
    __table_args__ = (Index("ix_master_choice", "kind", "instrument", "detector", "state"),)

    id: int | None = Field(default=None, primary_key=True)
    kind: str
    instrument: str
    detector: str = Field(sa_type=PlainText)
    filter: str = Field(default="", sa_type=PlainText)
    exptime: float = 0.0
    ny: int
    nx: int
    binning: str
    gain_setting: str = Field(default="", sa_type=PlainText)
    readout_mode: str = Field(default="", sa_type=PlainText)
    ccd_temp: float | None = None
    mjd_mid: float
    valid_from: float
    valid_until: float
    path: str = Field(sa_type=PlainText)
    fingerprint: str = Field(unique=True)
    """SHA-256 of kind, recipe and the inputs' hashes."""
    n_inputs: int
    statistics: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    state: str = "approved"
    """provisional, approved or rejected."""
    reason: str = Field(default="", sa_type=PlainText)
    created_at: datetime = Field(sa_type=UtcDateTime)
    rotator: float | None = None
    """Degrees; of flats, where it matters."""

    @property
    def made_with(self) -> dict[str, str]:
        """Kind -> fingerprint of the masters that its inputs were calibrated with."""
        return dict(self.statistics.get("made_with", {}))


class MasterInput(SQLModel, table=True):
    """Which frames went into a master."""

    __tablename__ = "master_input"

    master_id: int = Field(foreign_key="master.id", primary_key=True)
    frame_id: int = Field(foreign_key="frame.id", primary_key=True)


class MasterBuild(SQLModel, table=True):
    """Who builds a master right now: a lock with a lease, so that a dead builder blocks nobody for long."""

    __tablename__ = "master_build"

    key: str = Field(primary_key=True, sa_type=PlainText)
    worker: str
    lease_until: datetime = Field(sa_type=UtcDateTime)


class Reduction(SQLModel, table=True):
    """One reduction of one frame. At most one of a frame is current."""

    __tablename__ = "reduction"
    __table_args__ = (
        UniqueConstraint("frame_id", "version", name="uq_reduction_version"),
        Index(
            "uq_reduction_current",
            "frame_id",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    frame_id: int = Field(foreign_key="frame.id", index=True)
    version: int
    current: bool = True
    software: str
    plan_fingerprint: str
    """SHA-256 of profile, settings that matter, software version and masters' fingerprints."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    masters: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    """Kind -> fingerprint."""
    warnings: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    timings: dict[str, float] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    """Step -> seconds."""
    fwhm_px: float | None = None
    ellipticity: float | None = None
    sky: float | None = None
    n_sources: int | None = None
    n_cosmic: int | None = None
    wcs: str = Field(default="", sa_type=PlainText)
    """FITS header of the solution, cards joined by newlines."""
    wcs_backend: str | None = None
    wcs_quality: str = "none"
    wcs_rms_arcsec: float | None = None
    wcs_heldout_rms_arcsec: float | None = None
    wcs_n_matched: int | None = None
    ra_center: float | None = None
    dec_center: float | None = None
    scale: float | None = None
    rotation: float | None = None
    parity: int | None = None
    zp: float | None = None
    zp_adu: float | None = None
    zp_err: float | None = None
    zp_scatter: float | None = None
    zp_n_stars: int | None = None
    zp_catalog: str | None = None
    zp_band: str | None = None
    mag_system: str | None = None
    color_term: float | None = None
    depth_5sigma: float | None = None


class Source(SQLModel, table=True):
    """One object on the sky, over all its nights."""

    __tablename__ = "source"
    __table_args__ = (Index("ix_source_healpix", "healpix"),)

    id: int | None = Field(default=None, primary_key=True)
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


class Measurement(SQLModel, table=True):
    """One source on one frame."""

    __tablename__ = "measurement"
    __table_args__ = (Index("ix_measurement_source", "source_id", "mjd_mid"),)

    reduction_id: int = Field(foreign_key="reduction.id", primary_key=True)
    number: int = Field(primary_key=True)
    """Detection number on the frame, from 0."""
    kind: str = Field(primary_key=True)
    """aperture, psf or forced."""
    mjd_mid: float = Field(primary_key=True)
    """Part of the key because Postgres partitions by it."""
    source_id: int | None = Field(default=None, foreign_key="source.id")
    association: int = 0
    """Version of the association that gave ``source_id``; 0: none has looked at it yet."""
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
