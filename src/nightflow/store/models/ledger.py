"""The ledger: exposures, their frames, and where each stands."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Index,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from nightflow.store.models.column_types import PlainText, UtcDateTime

__all__ = ["Exposure", "Frame", "Priority", "State"]


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
    def again(priority: int) -> int:
        """Return the priority of an exposure that is reduced again: behind what is fresh.

        That of a backfill stays one of it: else those that work on it would not take it.
        """
        return max(priority - priority % 10, Priority.REDO)

    @staticmethod
    def after_hold(priority: int) -> int:
        """Return the priority of an exposure that has to be tried again later: behind what is fresh.

        A live one becomes a redo. Each further time it is one step less urgent, nine steps at most; so the
        steps also count how often that was, see `Priority.holds`.
        """
        return Priority.again(priority) + min(priority % 10 + 1, 9)

    @staticmethod
    def holds(priority: int) -> int:
        """Return how often an exposure was put off until later."""
        return priority % 10


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
        # Of each file that lands all rows are looked up by its content, duplicates included.
        Index("ix_exposure_sha256", "sha256"),
        Index("ix_exposure_received_at", "received_at"),
        # What was reduced without a run of the Prefect server: next to nothing of a long ledger.
        Index(
            "ix_exposure_unshown",
            "done_at",
            sqlite_where=text("prefect_run_id = ''"),
            postgresql_where=text("prefect_run_id = ''"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    path: str = Field(sa_type=PlainText)
    sha256: str
    size: int = Field(sa_type=BigInteger)
    state: str = State.RECEIVED
    reason: str = Field(default="", sa_type=PlainText)
    priority: int = Priority.LIVE
    attempts: int = 0
    """Deaths of a worker, seen by a living service, or of a run or share, with this exposure in work."""
    leased_by: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    waits_for: str = ""
    """What a held exposure waits for: "bias", "dark", "flat", "wcs", "profile", ...; of a rejected one what
    puts it back into the queue, see `nightflow.store.ledger.CONTENT` and `PLACE`."""
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
    mtime_ns: int | None = Field(default=None, sa_type=BigInteger)
    ctime_ns: int | None = Field(default=None, sa_type=BigInteger)
    """Last changes of content and inode of its file when that was read last, see `nightflow.sensor.seen`;
    None: not written down yet, or it is not where it was read."""

    @property
    def last_queued(self) -> datetime:
        """When it was put into the queue last."""
        return self.queued_at or self.received_at


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
