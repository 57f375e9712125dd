"""Statistics of the sources of a field over all their nights, written where they are not what is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select
from sqlmodel import Session, col

from nightflow.flags import INCOMPLETE, Flag
from nightflow.lightcurves.ensemble import FieldOffsets, field_offsets, magnitudes
from nightflow.lightcurves.period import find_period
from nightflow.lightcurves.variability import StarStatistics, judge, star_statistics
from nightflow.store.database import Database, serialise
from nightflow.store.frames import finite
from nightflow.store.models import Frame, Measurement, Reduction, SourceStatistics
from nightflow.store.sources import taken_names

__all__ = ["update_statistics"]

_NO_USE = int(INCOMPLETE)
_AT_ONCE = 200
"""Sources that are read in one go."""
_REFERENCES = 80
_SAMPLE = 9
"""Frames, spread over all, that the reference stars are looked for on."""
_KIND = "aperture"


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Usable measurements in the order of source and time; columns of equal length n."""

    source: NDArray[np.int64]
    reduction: NDArray[np.int64]
    mjd: NDArray[np.float64]
    bjd: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    mag: NDArray[np.float64]
    flags: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> _Rows:
        return _Rows(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class _Setup:
    """One camera with one filter: its frames, and what the stable stars say of each."""

    instrument: str
    filter: str
    reductions: NDArray[np.int64]
    offsets: FieldOffsets
    references: NDArray[np.int64]


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
        setups = list(_setups(session, source_ids))
        rows = [row for setup in setups for row in _of_setup(session, setup, source_ids)]
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
    return row["source_id"], row["instrument"], row["filter"], row["kind"]


def _stored(session: Session, source_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    for some in _blocks(source_ids):
        statement = select(SourceStatistics).where(col(SourceStatistics.source_id).in_(some))
        yield from (row.model_dump() for row in session.scalars(statement))


def _replace(session: Session, rows: list[dict[str, Any]], outdated: list[tuple[Any, ...]]) -> None:
    for source, instrument, name, kind in {*outdated, *map(_key, rows)}:
        session.connection().execute(
            delete(SourceStatistics).where(
                col(SourceStatistics.source_id) == source,
                col(SourceStatistics.instrument) == instrument,
                col(SourceStatistics.filter) == name,
                col(SourceStatistics.kind) == kind,
            )
        )
    there = taken_names(session, np.array([row["source_id"] for row in rows], np.int64))
    rows = [row for row in rows if row["source_id"] in there]
    if rows:
        session.connection().execute(insert(SourceStatistics), rows)


def _blocks(source_ids: Sequence[int]) -> Iterator[list[int]]:
    ordered = sorted(source_ids)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]


def _setups(session: Session, source_ids: Sequence[int]) -> Iterator[_Setup]:
    for instrument, name, frames in _frames(session, source_ids):
        references = _references(session, source_ids, frames)
        if not references:
            continue
        table = _read(session, references, instrument, name)
        reductions = np.unique(table.reduction)
        flux = np.full((len(reductions), len(references)), np.nan)
        error = flux.copy()
        place = np.searchsorted(reductions, table.reduction), np.searchsorted(references, table.source)
        flux[place], error[place] = table.flux, table.flux_err
        offsets = field_offsets(flux, error, np.isfinite(flux))
        yield _Setup(
            instrument=instrument,
            filter=name,
            reductions=reductions,
            offsets=offsets,
            references=np.array(references, np.int64)[offsets.stars],
        )


def _frames(session: Session, source_ids: Sequence[int]) -> list[tuple[str, str, list[int]]]:
    """Return the cameras and filters that saw a field, each with a sample of its reductions.

    The field's frames are those of a few of its sources, taken evenly: each sees some of them at least.
    """
    ordered = sorted(source_ids)
    some = [ordered[int(one)] for one in np.unique(np.linspace(0, len(ordered) - 1, 50).astype(int))]
    rows = session.execute(
        select(col(Frame.instrument), col(Frame.filter), col(Reduction.id))
        .join(Reduction, col(Reduction.frame_id) == col(Frame.id))
        .join(Measurement, col(Measurement.reduction_id) == col(Reduction.id))
        .where(col(Measurement.source_id).in_(some), col(Reduction.current), col(Measurement.kind) == _KIND)
        .distinct()
        .order_by(col(Frame.instrument), col(Frame.filter), col(Reduction.id))
    ).all()
    found: dict[tuple[str, str], list[int]] = {}
    for instrument, name, reduction in rows:
        found.setdefault((instrument, name), []).append(reduction)
    return [
        (*key, [ids[int(one)] for one in np.unique(np.linspace(0, len(ids) - 1, _SAMPLE).astype(int))])
        for key, ids in found.items()
    ]


def _references(session: Session, source_ids: Sequence[int], frames: list[int]) -> list[int]:
    """Return the bright sources that are on most of these frames, ascending."""
    seen, light = func.count(), func.avg(col(Measurement.flux))
    rows = session.execute(
        select(col(Measurement.source_id), seen, light)
        .where(
            col(Measurement.reduction_id).in_(frames),
            col(Measurement.kind) == _KIND,
            col(Measurement.source_id).is_not(None),
            col(Measurement.flags).op("&")(_NO_USE) == 0,
            col(Measurement.flux) > 0,
        )
        .group_by(col(Measurement.source_id))
    ).all()
    of_field = set(source_ids)
    known = [row for row in rows if row[0] in of_field]
    best = sorted(known, key=lambda row: (-row[1], -row[2], row[0]))[:_REFERENCES]
    return sorted(int(row[0]) for row in best if row[0] is not None)


def _read(session: Session, sources: Sequence[int], instrument: str, name: str) -> _Rows:
    columns = ("source_id", "reduction_id", "mjd_mid", "bjd_tdb", "flux", "flux_err", "mag", "flags")
    rows = session.execute(
        select(*(col(getattr(Measurement, one)) for one in columns))
        .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .where(
            col(Measurement.source_id).in_(sources),
            col(Measurement.kind) == _KIND,
            col(Measurement.filter) == name,
            col(Frame.instrument) == instrument,
            col(Reduction.current),
            col(Measurement.flags).op("&")(_NO_USE) == 0,
            col(Measurement.flux) > 0,
        )
        .order_by(col(Measurement.source_id), col(Measurement.mjd_mid), col(Measurement.reduction_id))
    ).all()
    table = list(zip(*rows, strict=True)) or [()] * len(columns)
    return _Rows(
        source=np.array(table[0], np.int64),
        reduction=np.array(table[1], np.int64),
        mjd=np.array(table[2], float),
        bjd=np.array(table[3], float),
        flux=np.array(table[4], float),
        flux_err=np.array(table[5], float),
        mag=np.array(table[6], float),
        flags=np.array(table[7], np.int64),
    )


def _of_setup(session: Session, setup: _Setup, source_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the rows of all sources of a field with one camera and filter."""
    curves = [
        curve
        for some in _blocks(source_ids)
        for curve in _curves(setup, _read(session, some, setup.instrument, setup.filter))
    ]
    judged = judge(
        [one.statistics for one in curves],
        np.array([one.brightness for one in curves], float),
        np.array([one.row["contaminated"] for one in curves], float),
    )
    rows = []
    for number, curve in enumerate(curves):
        period = None
        if judged.variable[number]:
            known = np.isfinite(curve.time)
            period = find_period(curve.time[known], curve.mag[known], curve.error[known])
        rows.append(
            curve.row
            | {
                "instrument": setup.instrument,
                "filter": setup.filter,
                "kind": _KIND,
                "expected_scatter": finite(judged.expected[number]),
                "excess": finite(judged.excess[number]),
                "variable": bool(judged.variable[number]),
                "period": period.days if period else None,
                "period_err": period.error if period else None,
                "period_fap": period.false_alarm if period else None,
            }
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """A source's magnitudes with the frames' offsets taken out."""

    row: dict[str, Any]
    statistics: StarStatistics
    brightness: float
    time: NDArray[np.float64]
    mag: NDArray[np.float64]
    error: NDArray[np.float64]


def _curves(setup: _Setup, rows: _Rows) -> Iterator[_Curve]:
    bounds = np.flatnonzero(np.diff(rows.source)) + 1
    for part in np.split(np.arange(len(rows.source)), bounds) if len(rows.source) else []:
        own = rows.take(part)
        mag, error = _without_offsets(setup, own)
        good = np.isfinite(mag) & np.isfinite(error) & (error > 0)
        if good.any():
            yield _curve(own.take(good), mag[good], error[good])


def _without_offsets(setup: _Setup, own: _Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return magnitudes against the ensemble, of which the star itself is no part, and their errors."""
    offsets = setup.offsets
    mag, noise = magnitudes(own.flux, own.flux_err)
    frame = np.searchsorted(setup.reductions, own.reduction).clip(0, len(setup.reductions) - 1)
    known = setup.reductions[frame] == own.reduction
    star = int(np.searchsorted(setup.references, own.source[0]))
    weight = np.zeros(len(frame))
    if star < len(setup.references) and setup.references[star] == own.source[0]:
        weight = offsets.weight[frame, star]
    total = 1.0 / offsets.variance[frame]
    others = total - weight
    alone = others <= 1e-9 * total
    residual = mag - offsets.frame[frame]
    middle = np.nanmedian(residual[known]) if known.any() else 0.0
    # A star that has pulled the offset towards itself deviates by more from what the others say.
    residual = middle + (residual - middle) * (1.0 + weight / np.where(alone, 1.0, others))
    usable = known & ~alone
    return np.where(usable, residual, np.nan), np.hypot(noise, 1.0 / np.sqrt(np.where(alone, 1.0, others)))


def _curve(own: _Rows, mag: NDArray[np.float64], error: NDArray[np.float64]) -> _Curve:
    statistics = star_statistics(mag, error)
    calibrated = own.mag[np.isfinite(own.mag)]
    row = {
        "source_id": int(own.source[0]),
        "n": statistics.n,
        "mjd_first": float(own.mjd[0]),
        "mjd_last": float(own.mjd[-1]),
        "mag": float(np.median(calibrated)) if len(calibrated) else None,
        "mag_err": statistics.error,
        "scatter": statistics.scatter,
        "chi2_dof": statistics.chi2_dof,
        "stetson_j": finite(statistics.stetson_j),
        "von_neumann": finite(statistics.von_neumann),
        "amplitude": statistics.amplitude,
        "contaminated": float(np.mean((own.flags & int(Flag.NEIGHBOUR)) != 0)),
    }
    return _Curve(
        row=row, statistics=statistics, brightness=float(np.median(mag)), time=own.bjd, mag=mag, error=error
    )
