"""Bodies that moved."""

from __future__ import annotations

from sqlalchemy import (
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from nightflow.store.models.column_types import PlainText

__all__ = ["Mover", "MoverDetection"]


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
