"""A night of star lists in a store, frame by frame in any order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sqlalchemy import text

from nightflow.config import AssociationSettings
from nightflow.pipeline.associate_night import NightSources, associate
from nightflow.products.lightcurve_table import encode
from nightflow.store.database import Database
from nightflow.store.queries import light_curve
from nightflow.store.records import CatalogIdentity, MeasurementColumns
from nightflow.store.statistics import update_statistics
from nightflow.store.writer import append
from tests.unit.lightcurves.sky_lists import CENTER, Observed, Sky, observe
from tests.unit.store.builders import MJD, START, add_frame, columns, record

NIGHT = "2026-02-28"
"""That of `MJD`, at a site of no known longitude."""


def frame_columns(
    seen: Observed, frame: int, sky: Sky, *, days: float = 0.0, catalog: CatalogIdentity | None = None
) -> MeasurementColumns:
    night = seen.night
    rows = np.flatnonzero(night.frame == frame)
    return columns(
        night.ra[rows],
        night.dec[rows],
        mjd=MJD + days + frame * sky.cadence / 24.0,
        flux=10 ** (-0.4 * night.mag[rows]),
        x=night.x[rows],
        y=night.y[rows],
        position_err=seen.position_err[rows],
        fwhm_px=np.full(len(rows), sky.fwhm / sky.scale),
        catalog=catalog,
    )


def append_frame(
    database: Database,
    sky: Sky,
    frame: int,
    seen: Observed | None = None,
    *,
    days: float = 0.0,
    plan: str = "plan",
    center: tuple[float, float] = CENTER,
) -> int:
    """Receive and append one frame of a night; return its reduction."""
    seen = observe(sky) if seen is None else seen
    side = int(sky.side / sky.scale)
    mjd = MJD + days + frame * sky.cadence / 24.0
    name = f"{days:.0f}-{sky.seed}-{frame:04d}.fits"
    frame_id = add_frame(database, name, mjd_mid=mjd, shape=(side, side))
    chain = record(
        plan,
        scale=sky.scale,
        fwhm_px=sky.fwhm / sky.scale,
        wcs_rms_arcsec=1.2 * sky.wcs_error,
        ra_center=center[0],
        dec_center=center[1],
    )
    return append(
        database, frame_id, chain, frame_columns(seen, frame, sky, days=days), now=START
    ).reduction_id


def append_frames(
    database: Database, sky: Sky, frames: Iterable[int], *, days: float = 0.0
) -> dict[int, int]:
    """Append frames in the order given; return frame -> reduction."""
    seen = observe(sky)
    return {frame: append_frame(database, sky, frame, seen, days=days) for frame in frames}


def put_in_order(database: Database, night: str = NIGHT, **settings: Any) -> NightSources:
    return associate(database, night, AssociationSettings(**settings), now=START)


def exported(database: Database, most: int = 25) -> dict[int, bytes]:
    """Return the light curves of the first sources that are seen, as `lightcurve` writes them."""
    statement = text("SELECT id FROM source WHERE n_obs > 0 ORDER BY id LIMIT :most")
    with database.session() as session:
        ids = session.connection().execute(statement, {"most": most}).scalars().all()
    return {one: encode(light_curve(database, one)) for one in ids}


def concluded(database: Database, found: NightSources) -> dict[str, list[dict[str, Any]]]:
    """Return the sources, their statistics and the bodies, once the statistics are made."""
    for field in found.fields:
        update_statistics(database, field)
    tables = {"source": "id", "source_statistics": "source_id, filter", "mover": "night, number"}
    with database.session() as session:
        connection = session.connection()
        rows = {
            table: connection.execute(text(f"SELECT * FROM {table} ORDER BY {keys}")).mappings().all()
            for table, keys in tables.items()
        }
    own = {"mover": {"id"}}
    return {
        table: [{name: row[name] for name in row if name not in own.get(table, ())} for row in of_table]
        for table, of_table in rows.items()
    }


def sources_of(database: Database) -> list[tuple[str, int, str, int | None]]:
    """Return (path, number, kind, source) of every current measurement."""
    statement = text(
        "SELECT e.path, m.number, m.kind, m.source_id FROM measurement m "
        "JOIN reduction r ON r.id = m.reduction_id JOIN frame f ON f.id = r.frame_id "
        "JOIN exposure e ON e.id = f.exposure_id WHERE r.current ORDER BY 1, 2, 3"
    )
    with database.session() as session:
        return [tuple(row) for row in session.connection().execute(statement)]
