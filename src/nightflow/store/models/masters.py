"""Master calibrations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Index,
)
from sqlmodel import Field, SQLModel

from nightflow.store.models.column_types import PlainText, UtcDateTime

__all__ = ["Master", "MasterBuild", "MasterInput"]


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
