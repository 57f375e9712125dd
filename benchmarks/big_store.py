"""Stores with millions of measurements, filled by bulk and not frame by frame as a telescope would."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert, text
from sqlmodel import Session

from benchmarks.stores import NOW, record
from nightflow.store.bulk import insert_measurements
from nightflow.store.database import Database
from nightflow.store.models import Exposure, Frame, Reduction, State
from nightflow.store.partitions import ensure_partition
from nightflow.store.records import MeasurementColumns
from nightflow.store.source_names import names
from nightflow.store.sources import insert_sources

__all__ = ["Field", "fill_fields"]

_FIRST_MJD = 61000.0
_DAYS = 360.0
"""Over which the frames are spread: a partition a month."""
_STEP = 25.0 / 3600.0
_FRAMES_A_TRANSACTION = 20


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field with its stars, all on every frame.

    Attributes
    ----------
    number : int
        Each field has a piece of sky of its own.
    n_frames, n_stars : int
    """

    number: int
    n_frames: int
    n_stars: int

    def stars(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ra and dec of its stars, on a grid with jitter."""
        rng = np.random.default_rng([11, self.number])
        row, column = np.divmod(np.arange(self.n_stars), int(np.ceil(np.sqrt(self.n_stars))))
        dec = 10.0 + (row + rng.uniform(-0.1, 0.1, self.n_stars)) * _STEP
        ra = 20.0 + 3.0 * self.number + (column + rng.uniform(-0.1, 0.1, self.n_stars)) * _STEP
        return ra, dec

    def sha256(self, frame: int) -> str:
        """Return what stands for the hash of a frame's file."""
        return hashlib.sha256(f"{self.number}/{frame}".encode()).hexdigest()

    def sources(self) -> NDArray[np.int64]:
        """Return the numbers of its sources: those that the first frame gives them."""
        return names(self.sha256(0), "1", np.arange(self.n_stars))

    def mjd(self, frame: int) -> float:
        """Return the middle of an exposure."""
        return _FIRST_MJD + _DAYS * (frame + 0.01 * self.number / 100.0) / max(self.n_frames, 1)

    def columns(self, frame: int) -> MeasurementColumns:
        """Return the measurements of a frame."""
        rng = np.random.default_rng([12, self.number, frame])
        ra, dec = self.stars()
        flux = 10 ** np.random.default_rng([13, self.number]).uniform(1.0, 4.0, self.n_stars)
        noise = np.sqrt(flux) / 5.0
        measured = flux + rng.normal(0.0, noise)
        return MeasurementColumns(
            number=np.arange(self.n_stars),
            kind="aperture",
            flux=measured,
            flux_err=noise,
            mag=25.0 - 2.5 * np.log10(np.maximum(measured, 1e-3)),
            mag_err=1.0857 * noise / flux,
            x=np.full(self.n_stars, 100.0),
            y=np.full(self.n_stars, 100.0),
            ra=ra,
            dec=dec,
            fwhm_px=np.full(self.n_stars, 3.0),
            flags=np.zeros(self.n_stars, int),
            bjd_tdb=np.full(self.n_stars, self.mjd(frame) + 2400000.5),
            position_err=np.full(self.n_stars, 0.05),
            mjd_mid=self.mjd(frame),
            filter="V",
        )


def fill_fields(database: Database, fields: list[Field]) -> None:
    """Fill an empty store: the same tables and indexes as any, the rows in the order of time.

    The index by source is made when the rows are there, and Postgres is told that the keys lead somewhere:
    both for the time that it takes alone. What the filling leaves for later is done: a store that has grown
    over months has it behind itself.
    """
    frames = sorted((one.mjd(frame), one.number, frame) for one in fields for frame in range(one.n_frames))
    for mjd in {int(mjd // 15) * 15 for mjd, *_ in frames} | {frames[-1][0]}:
        ensure_partition(database, float(mjd))
    by_number = {one.number: one for one in fields}
    with database.write() as session:
        session.connection().execute(text("DROP INDEX ix_measurement_source"))
        for one in fields:
            _add_sources(session, one)
    for start in range(0, len(frames), _FRAMES_A_TRANSACTION):
        some = frames[start : start + _FRAMES_A_TRANSACTION]
        with database.write() as session:
            if database.is_postgres:
                session.connection().execute(text("SET LOCAL session_replication_role = replica"))
            for row, (_, number, frame) in enumerate(some, start=start + 1):
                _add_frame(session, by_number[number], frame, row)
    _restart_numbers(database)
    with database.write() as session:
        index = "CREATE INDEX ix_measurement_source ON measurement (source_id, mjd_mid)"
        session.connection().execute(text(index))
        session.connection().execute(text("ANALYZE"))
    _let_rest(database)


def _add_sources(session: Session, field: Field) -> None:
    ra, dec = field.stars()
    values = zip(field.sources().tolist(), ra.tolist(), dec.tolist(), strict=True)
    common = {"epoch": 2026.0, "n_obs": field.n_frames, "n_position": 0, "pmra": 0.0, "pmdec": 0.0}
    common |= {"catalog": "", "catalog_id": ""}
    insert_sources(session, [{"id": one, "ra": a, "dec": d} | common for one, a, d in values])


def _add_frame(session: Session, field: Field, frame: int, row: int) -> None:
    """Add exposure, frame, reduction and measurements, all three numbered by ``row``."""
    sha256 = field.sha256(frame)
    connection = session.connection()
    exposure = Exposure(
        id=row, path=f"/raw/{field.number}/{frame}.fits", sha256=sha256, size=1, state=State.DONE,
        received_at=NOW, done_at=NOW,
    )  # fmt: skip
    connection.execute(insert(Exposure), [exposure.model_dump()])
    light = Frame(
        id=row, exposure_id=row, detector="1", hdu=0, kind="light", instrument="bench", filter="V",
        exptime=30.0, mjd_mid=field.mjd(frame), ny=4096, nx=4096, state=State.DONE, night="2026-01-01",
    )  # fmt: skip
    connection.execute(insert(Frame), [light.model_dump()])
    chain = replace(record(row), plan_fingerprint=f"plan-{field.number}-{frame}")
    reduction = Reduction(id=row, frame_id=row, version=1, current=True, created_at=NOW, **chain.values())
    connection.execute(insert(Reduction), [reduction.model_dump()])
    insert_measurements(session, row, field.columns(frame), field.sources(), 1)


def _restart_numbers(database: Database) -> None:
    """Let Postgres go on counting where the rows end."""
    if not database.is_postgres:
        return
    with database.write() as session:
        for table in ("exposure", "frame", "reduction"):
            session.connection().execute(
                text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")  # noqa: S608
            )


def _let_rest(database: Database) -> None:
    """Write what is only in the log, and let Postgres tidy its tables now and not during what is timed."""
    statements = ("VACUUM", "CHECKPOINT") if database.is_postgres else ("PRAGMA wal_checkpoint(TRUNCATE)",)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
