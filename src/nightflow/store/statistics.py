"""Statistics of the sources of a field over all their nights, written where they are not what is there.

A field that is a chain of many pointings is taken patch by patch (`nightflow.store.patches`), so that neither
the references that are fitted together nor what is in memory grows with the length of the chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, delete, insert, select
from sqlmodel import Session, col

from nightflow.lightcurves.period import find_period
from nightflow.lightcurves.variability import doubt_of, judge, relative_width
from nightflow.sphere import unit_vectors
from nightflow.store.bulk import read_numbers
from nightflow.store.database import Database, serialise
from nightflow.store.models import Source, SourceStatistics, finite
from nightflow.store.patches import sky_patches
from nightflow.store.source_curves import JudgedCurve, SourceCurve, source_curves
from nightflow.store.sources import taken_names
from nightflow.store.statistics_frames import CameraFrames, FieldFrames, cameras_of, field_frames
from nightflow.store.statistics_references import tied_frames
from nightflow.store.statistics_rows import KIND, in_blocks, read_rows_of

__all__ = ["update_statistics"]

_KEY = ("source_id", "instrument", "filter", "kind")


def update_statistics(database: Database, source_ids: Sequence[int]) -> int:
    """Compute the statistics of sources that lie in one field, from all current measurements.

    Parameters
    ----------
    source_ids : sequence of int
        All of the field's: each is judged by the others.

    Returns
    -------
    int
        How many rows are different now.
    """
    if not source_ids:
        return 0
    with database.session() as session:
        ids, places = _places(session, source_ids)
        field = field_frames(session, places)
        patches = sky_patches(places, field.sky)
    return sum(_update(database, field, ids, ids[rows].tolist(), places[rows]) for rows in patches)


def _update(
    database: Database,
    field: FieldFrames,
    of_field: NDArray[np.int64],
    source_ids: list[int],
    places: NDArray[np.float64],
) -> int:
    """Compute the statistics of the sources of a patch; return how many rows are different now.

    Their references are any of the field: a pointing of which the patch has a corner has too few there.
    """
    with database.session() as session:
        rows = [
            row
            for camera in cameras_of(field, places)
            for row in _of_camera(session, camera, of_field, source_ids)
        ]
        there = {_key(row): row for row in _stored(session, source_ids)}
    wanted = {_key(row): row for row in rows}
    different = [row for key, row in wanted.items() if there.get(key) != row]
    outdated = [key for key in there if key not in wanted or there[key] != wanted[key]]
    if different or outdated:
        with database.write() as session:
            # Another night's end may dissolve a source, or write the same rows, meanwhile.
            serialise(session, "association")
            _replace(session, different, outdated)
    return len(different) + sum(key not in wanted for key in outdated)


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEY)


def _stored(session: Session, source_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    for some in in_blocks(source_ids):
        statement = select(SourceStatistics).where(col(SourceStatistics.source_id).in_(some))
        yield from (row.model_dump() for row in session.scalars(statement))


def _replace(session: Session, rows: list[dict[str, Any]], outdated: list[tuple[Any, ...]]) -> None:
    keys = sorted({*outdated, *map(_key, rows)})
    if keys:
        is_one = (col(getattr(SourceStatistics, name)) == bindparam(f"of_{name}") for name in _KEY)
        session.connection().execute(
            delete(SourceStatistics).where(*is_one),
            [{f"of_{name}": value for name, value in zip(_KEY, key, strict=True)} for key in keys],
        )
    there = taken_names(session, np.array([row["source_id"] for row in rows], np.int64))
    rows = [row for row in rows if row["source_id"] in there]
    if rows:
        session.connection().execute(insert(SourceStatistics), rows)


def _places(session: Session, source_ids: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the sources that there are, ascending, and their unit vectors."""
    columns: Any = select(col(Source.id), col(Source.ra), col(Source.dec))
    parts = [read_numbers(session, columns.where(col(Source.id).in_(some))) for some in in_blocks(source_ids)]
    # The numbers of sources have 53 bits: a double holds each.
    table = np.concatenate(parts, axis=1)
    table = table[:, np.argsort(table[0])]
    return table[0].astype(np.int64), unit_vectors(table[1], table[2])


def _of_camera(
    session: Session, camera: CameraFrames, of_field: NDArray[np.int64], source_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the rows of all sources of a patch with one camera and filter."""
    setups = tied_frames(session, camera, of_field)
    curves: list[list[JudgedCurve]] = [[] for _ in setups]
    for some in in_blocks(source_ids, camera.at_once):
        for number, curve in source_curves(setups, read_rows_of(session, some, camera)):
            curves[number].append(JudgedCurve.of(curve))
    rows: dict[int, dict[str, Any]] = {}
    for of_setup in curves:
        # Brightness has a zero of its own in each group, so stars are judged by those of theirs.
        rows |= {row["source_id"]: row for row in _judged_rows(camera, of_setup)}
    variable = sorted(one for one, row in rows.items() if row["variable"])
    for some in in_blocks(variable, camera.at_once):
        for _, curve in source_curves(setups, read_rows_of(session, some, camera)):
            rows[curve.row["source_id"]] |= _period(curve)
    return list(rows.values())


def _judged_rows(camera: CameraFrames, curves: list[JudgedCurve]) -> Iterator[dict[str, Any]]:
    brightness = np.array([one.brightness for one in curves], float)
    widths = relative_width(brightness, np.array([one.row["width"] for one in curves], float))
    for curve, width in zip(curves, widths, strict=True):
        curve.row["width"] = finite(width)
    judged = judge(
        [one.statistics for one in curves],
        brightness,
        [doubt_of(*(one.row[name] for name in ("contaminated", "near_edge", "width"))) for one in curves],
    )
    for number, curve in enumerate(curves):
        yield curve.row | {
            "instrument": camera.instrument,
            "filter": camera.filter,
            "kind": KIND,
            "expected_scatter": finite(judged.expected[number]),
            "excess": finite(judged.excess[number]),
            "variable": bool(judged.variable[number]),
            "period": None,
            "period_err": None,
            "period_fap": None,
        }


def _period(curve: SourceCurve) -> dict[str, Any]:
    known = np.isfinite(curve.time)
    period = find_period(curve.time[known], curve.mag[known], curve.error[known])
    if period is None:
        return {}
    return {"period": period.days, "period_err": period.error, "period_fap": period.false_alarm}
