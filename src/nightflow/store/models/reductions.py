"""What a reduction made of a frame, and the distortion of its camera."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import (
    JSON,
    Column,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from nightflow.store.models.column_types import PlainText, UtcDateTime

__all__ = ["CameraDistortion", "Reduction", "WcsStars"]


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
