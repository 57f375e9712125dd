"""Rows and columns for the tests of the store, from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.store.database import Database
from nightflow.store.frames import record_frames
from nightflow.store.ledger import receive
from nightflow.store.records import MeasurementColumns, ReductionRecord

CLEAN_PROCESSES = get_context("forkserver")
"""Processes that share nothing with this one, and need not import the store each: that takes seconds."""
CLEAN_PROCESSES.set_forkserver_preload(
    ["nightflow.store.writer", "nightflow.pipeline.associate_night", __name__]
)

START = datetime(2026, 3, 1, 20, 0, tzinfo=UTC)
MJD = 61100.0
SCALE = 1.2


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def header(**changes: Any) -> FrameHeader:
    values: dict[str, Any] = {
        "instrument": "testcam",
        "kind": FrameKind.LIGHT,
        "object": "M 67",
        "filter": "V",
        "exptime": 30.0,
        "mjd_mid": MJD,
        "shape": (100, 120),
        "airmass": 1.25,
    }
    return FrameHeader(**(values | changes))


def add_frame(database: Database, name: str = "a.fits", **changes: Any) -> int:
    """Receive a file with one frame and return the frame's row."""
    received = receive(database, f"/data/{name}", sha(name), 1000, now=START)
    return record_frames(database, received.exposure_id, [header(**changes)])[0]


def record(plan: str = "plan-1", **changes: Any) -> ReductionRecord:
    values: dict[str, Any] = {
        "software": "nightflow 0",
        "plan_fingerprint": plan,
        "scale": SCALE,
        "zp": 25.0,
        "zp_band": "V",
        "mag_system": "Vega",
        "timings": {"calibrate": 0.25, "solve": 0.5},
    }
    return ReductionRecord(**(values | changes))


def stars(n: int, seed: int = 1, ra: float = 132.8, dec: float = 11.8) -> tuple[np.ndarray, np.ndarray]:
    """Return places on a grid with jitter, 40 arcsec apart: no two are confused."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n)))
    step = 40.0 / 3600.0
    row, column = np.divmod(np.arange(n), side)
    jitter = rng.uniform(-0.1, 0.1, (2, n))
    new_dec = dec + (row + jitter[0]) * step
    return ra + (column + jitter[1]) * step / np.cos(np.radians(new_dec)), new_dec


def columns(
    ra: np.ndarray, dec: np.ndarray, *, mjd: float = MJD, flux: np.ndarray | None = None, **changes: Any
) -> MeasurementColumns:
    n = len(ra)
    light = np.full(n, 100.0) if flux is None else flux
    values: dict[str, Any] = {
        "number": np.arange(n),
        "kind": "aperture",
        "flux": light,
        "flux_err": np.sqrt(np.abs(light)) / 10.0,
        "mag": 25.0 - 2.5 * np.log10(np.abs(light)),
        "mag_err": np.full(n, 0.01),
        "x": np.arange(n, dtype=float),
        "y": np.arange(n, dtype=float),
        "ra": ra,
        "dec": dec,
        "fwhm_px": np.full(n, 3.0),
        "flags": np.zeros(n, int),
        "bjd_tdb": np.full(n, mjd + 2400000.5),
        "position_err": np.full(n, 0.05),
        "mjd_mid": mjd,
        "filter": "V",
    }
    return MeasurementColumns(**(values | changes))


def count(database: Database, table: str, condition: str = "1 = 1") -> int:
    with database.session() as session:
        return int(
            session.connection().execute(text(f"SELECT count(*) FROM {table} WHERE {condition}")).scalar_one()
        )


def partitions(connection: Connection) -> list[str]:
    """Return the tables that hold the months of the measurements; none on SQLite."""
    if connection.dialect.name == "sqlite":
        return []
    children = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'measurement'::regclass"
    return sorted(connection.execute(text(children)).scalars())


def everything(database: Database) -> dict[str, list[Any]]:
    """Return all rows of all tables, to see whether anything changed."""
    tables = (
        "exposure", "frame", "master", "master_input", "reduction", "source", "measurement", "target",
        "wcs_stars", "camera_distortion",
    )  # fmt: skip
    with database.session() as session:
        connection = session.connection()
        return {
            table: sorted(map(str, connection.execute(text(f"SELECT * FROM {table}")).all()))
            for table in tables
        }


def in_processes(function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Call a function in as many processes at once as there are arguments."""
    with ProcessPoolExecutor(len(arguments), mp_context=CLEAN_PROCESSES) as pool:
        return [future.result(timeout=120) for future in [pool.submit(function, *one) for one in arguments]]
