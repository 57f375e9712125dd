"""The tables. The ledger (exposure, frame) is the truth; Prefect executes and shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel, col

__all__ = [
    "CameraDistortion",
    "Exposure",
    "Frame",
    "Master",
    "MasterBuild",
    "MasterInput",
    "Measurement",
    "Mover",
    "MoverDetection",
    "NightSolution",
    "NightZeroPoint",
    "PlainText",
    "Priority",
    "Reduction",
    "Source",
    "SourceHistory",
    "SourceStatistics",
    "State",
    "Target",
    "UtcDateTime",
    "WcsStars",
    "is_detection",
    "plain_text",
]

SourceId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite knows one kind of integer that is also the row's own number, and it has 64 bits."""


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

    @staticmethod
    def after_hold(priority: int) -> int:
        """Return the priority of an exposure that has to be tried again later: behind what is fresh.

        A live one becomes a redo. Each further time it is one step less urgent, nine steps at most; so the
        steps also count how often that was, see `Priority.holds`.
        """
        band = max(priority - priority % 10, Priority.REDO)
        return band + min(priority % 10 + 1, 9)

    @staticmethod
    def holds(priority: int) -> int:
        """Return how often an exposure was put off until later."""
        return priority % 10


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
    """Deaths of a worker, seen by a living service, with this exposure in work."""
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
    service_deaths: int = 0
    """Deaths of the service itself with it in work."""
    queued_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was put into the queue last; None: when it was received."""


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
    steps_done: str = ""
    """Names of the detector steps that were done before the frame came here, with blanks between."""


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
    gain: float | None = None
    """Electrons per raw ADU that it was reduced with."""
    sky_rms: float | None = None
    """Electrons; those after it are described in `nightflow.quality.frame_summary`."""
    threshold: float | None = None
    n_photometry: int | None = None
    n_saturated_pixels: int | None = None
    n_saturated_sources: int | None = None
    adu_rate_brightest: float | None = None
    adu_rate_median: float | None = None
    adu_rate_faintest: float | None = None
    fwhm_err_px: float | None = None
    n_fwhm_stars: int | None = None
    trailing: float | None = None
    trailing_angle: float | None = None
    grade: str | None = Field(default=None, sa_type=Text)
    """good, fair or bad, against the night so far; against the whole night once that is finished."""
    grade_reason: str | None = Field(default=None, sa_type=PlainText)
    verdict: str | None = Field(default=None, sa_type=Text)
    """pass or fail, by the report of the finished night."""
    wcs_catalog: str | None = Field(default=None, sa_type=Text)
    """Whose stars the WCS was fitted to."""
    color_term_err: float | None = None
    zp_origin: str | None = Field(default=None, sa_type=Text)
    """frame; or night, where the frame has too few stars of its own."""
    wcs_n_expected: int | None = None
    """Those of the WCS are described in `nightflow.astrometry.evidence`."""
    wcs_chance_matches: float | None = None
    wcs_log_false_alarm: float | None = None
    wcs_corner_rms_arcsec: float | None = None
    wcs_corner_err_arcsec: float | None = None
    hour_angle: float | None = None
    """Hours from -12 to 12, of the middle of the frame; null where the site is not known."""
    wcs_distortion: str | None = Field(default=None, sa_type=Text)
    """Fingerprint of the `CameraDistortion` that was lent; null where the frame's own stars sufficed."""


class WcsStars(SQLModel, table=True):
    """The stars that a verified WCS was fitted to."""

    __tablename__ = "wcs_stars"

    reduction_id: int = Field(foreign_key="reduction.id", primary_key=True, ondelete="CASCADE")
    optics: str = Field(index=True, sa_type=PlainText)
    """Camera, chip, binning and what else decides where light falls; see `nightflow.pipeline.optics`."""
    corner_errors_arcsec: list[float | None] = Field(
        default_factory=list, sa_column=Column(JSON, nullable=False)
    )
    """Lower left, lower right, upper left, upper right."""
    stars: dict[str, list[float | None]] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    """Columns of `nightflow.astrometry.solution.FittedStars`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the reduced frame, the last that ``optics`` names."""
        ny, nx = json.loads(self.optics)[-1]
        return int(ny), int(nx)


class CameraDistortion(SQLModel, table=True):
    """The distortion that a camera's frames up to a night taught; see `nightflow.astrometry.distortion`."""

    __tablename__ = "camera_distortion"
    __table_args__ = (UniqueConstraint("optics", "parity", "night", name="uq_camera_distortion"),)

    id: int | None = Field(default=None, primary_key=True)
    optics: str = Field(sa_type=PlainText)
    parity: int
    night: str
    """The last one whose frames taught it."""
    ny: int
    nx: int
    order: int
    a: list[float] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    b: list[float] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    n_frames: int
    scatter_px: float
    error_px: float
    fingerprint: str
    taught_by: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """SHA-256 of the files that were asked, in the order of time."""


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


class Mover(SQLModel, table=True):
    """A body that moved against the stars during one night."""

    __tablename__ = "mover"
    __table_args__ = (UniqueConstraint("night", "number", name="uq_mover_night"),)

    id: int | None = Field(default=None, primary_key=True)
    night: str
    number: int
    """In the night, from 1, by time of the first detection."""
    instrument: str
    name: str = Field(default="", sa_type=PlainText)
    """Of the target whose ephemeris it follows; "" where it follows none."""
    mjd: float
    """UTC of ``ra``, ``dec``: the weighted middle of its detections."""
    ra: float
    dec: float
    rate_ra: float
    """Arcsec an hour, with the cosine of the declination in it."""
    rate_ra_err: float
    rate_dec: float
    rate_dec_err: float
    position_angle: float
    """Of the motion, degrees from north through east."""
    position_angle_err: float
    rms_arcsec: float
    """Of its places from its line, radial: a bent one where the places ask for it, after the frames were
    brought onto each other."""
    n: int
    n_frames: int
    """Frames that its line crosses between its first and its last detection."""
    false_alarm: float
    """How many lines as good unrelated detections would make on these frames."""
    mag: float | None = None
    filter: str = Field(default="", sa_type=PlainText)


class MoverDetection(SQLModel, table=True):
    """One measurement of a mover."""

    __tablename__ = "mover_detection"

    mover_id: int = Field(foreign_key="mover.id", primary_key=True)
    reduction_id: int = Field(foreign_key="reduction.id", primary_key=True)
    number: int
    """Detection number on the frame."""


class NightSolution(SQLModel, table=True):
    """The photometry of a night in one filter of one chip; see `nightflow.photcal.night.NightSolution`."""

    __tablename__ = "night_solution"
    __table_args__ = (
        UniqueConstraint("night", "instrument", "detector", "filter", name="uq_night_solution"),
    )

    id: int | None = Field(default=None, primary_key=True)
    night: str
    instrument: str
    detector: str = Field(sa_type=PlainText)
    filter: str = Field(sa_type=PlainText)
    catalog: str = Field(sa_type=PlainText)
    band: str
    mag_system: str
    color: str = ""
    """Such as V-R; "" where there is no colour term."""
    n_frames: int
    n_clear: int
    """On the upper envelope, from which the extinction is taken."""
    n_stars: int
    n_measurements: int
    n_rejected: int
    """Stars that the others disagree with."""
    color_term: float | None = None
    color_term_err: float | None = None
    """At ``pivot``."""
    color_extinction: float | None = None
    color_extinction_err: float | None = None
    """Change of the colour term per airmass."""
    pivot: float
    """Airmass."""
    extinction: float | None = None
    extinction_err: float | None = None
    """Magnitudes per airmass, at ``extinction_color``."""
    extinction_color: float
    zp: float
    zp_err: float
    """Above the atmosphere at colour 0, where there is an extinction; else the median of the frames."""
    transparency_scatter: float
    """Magnitudes, of the frames about the line."""
    star_scatter: float
    noise: float
    """Magnitudes that the errors of the catalogue, and those of the measurements, do not explain."""
    reason: str = Field(default="", sa_type=PlainText)
    """Why there is no extinction, or what makes it uncertain."""


class NightZeroPoint(SQLModel, table=True):
    """The zero point of one reduction as all frames of its night have it."""

    __tablename__ = "night_zero_point"

    reduction_id: int = Field(foreign_key="reduction.id", primary_key=True, ondelete="CASCADE")
    solution_id: int = Field(foreign_key="night_solution.id", index=True, ondelete="CASCADE")
    zp: float
    """At colour 0, for the filter's band."""
    zp_err: float
    zp_err_own: float
    """Without what all frames of the night have in common."""
    loss: float | None = None
    """Magnitudes below a clear sky; below the median where there is no extinction."""


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
