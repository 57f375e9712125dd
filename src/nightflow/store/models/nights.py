"""What whole nights said: coefficients of the atmosphere, zero points."""

from __future__ import annotations

from sqlalchemy import (
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from nightflow.store.models.column_types import PlainText

__all__ = ["NightSolution", "NightZeroPoint"]


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
