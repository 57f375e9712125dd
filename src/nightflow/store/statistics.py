"""Statistics of the sources of a field over all their nights, written where they are not what is there.

A field that is a chain of many pointings is taken patch by patch (`nightflow.store.patches`), so that neither
the references that are fitted together nor what is in memory grows with the length of the chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, delete, func, insert, select
from sqlmodel import Session, col

from nightflow.flags import INCOMPLETE, Flag
from nightflow.lightcurves.associate import chords
from nightflow.lightcurves.ensemble import FieldOffsets, field_offsets, magnitudes, tied
from nightflow.lightcurves.period import find_period
from nightflow.lightcurves.variability import (
    EDGE_FWHM,
    StarStatistics,
    doubt_of,
    judge,
    relative_width,
    star_statistics,
)
from nightflow.sphere import unit_vectors
from nightflow.store.bulk import read_numbers
from nightflow.store.database import Database, serialise
from nightflow.store.frames import finite
from nightflow.store.models import Exposure, Frame, Measurement, Reduction, Source, SourceStatistics
from nightflow.store.patches import SkyFrames, sky_patches
from nightflow.store.sources import taken_names

__all__ = ["update_statistics"]

_NO_USE = int(INCOMPLETE)
_AT_ONCE = 200
"""Sources that are read in one go, at most."""
_ROWS_AT_ONCE = 200_000
"""Measurements, about: the memory that it takes does not grow with the number of nights."""
_REFERENCES = 80
"""Of a pointing."""
_MOST_REFERENCES = 400
"""Of pointings that overlap: the fit takes the cube of their number. Each pointing has its best ones; a patch
has no more than forty, or is so small that they share them."""
_FEWEST_REFERENCES = 10
_SAMPLE = 9
"""Frames of a pointing, spread over all, that its reference stars are looked for on."""
_KIND = "aperture"
_KEY = ("source_id", "instrument", "filter", "kind")


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Usable measurements in the order of source and time; columns of equal length n."""

    source: NDArray[np.int64]
    frame: NDArray[np.int64]
    """Rank among the camera's frames."""
    mjd: NDArray[np.float64]
    bjd: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    mag: NDArray[np.float64]
    flags: NDArray[np.int64]
    width: NDArray[np.float64]
    """FWHM in that of the frame's stars; NaN where one is not known."""
    near_edge: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> _Rows:
        return _Rows(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class _Camera:
    """The frames of one camera with one filter that reach to a field, by pointing."""

    instrument: str
    filter: str
    pointings: list[list[int]]
    """Reductions; each chip has pointings of its own."""
    ranks: dict[int, int]
    """Reduction -> place among all frames by time and content, for the order in which they came is chance."""

    @property
    def at_once(self) -> int:
        """Sources that may be read in one go."""
        return int(np.clip(_ROWS_AT_ONCE // max(map(len, self.pointings)), 1, _AT_ONCE))


@dataclass(frozen=True, kw_only=True)
class _Setup:
    """Frames with a common zero, and what the stable stars say of each."""

    frames: NDArray[np.int64]
    """Ranks, ascending."""
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
        ids, places = _places(session, source_ids)
        field = _frames(session, places)
        patches = sky_patches(places, field.sky)
    return sum(_update(database, field, ids, ids[rows].tolist(), places[rows]) for rows in patches)


def _update(
    database: Database,
    field: _FieldFrames,
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
            for camera in _cameras(field, places)
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
    for some in _blocks(source_ids):
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


def _blocks(source_ids: Sequence[int], at_once: int = _AT_ONCE) -> Iterator[list[int]]:
    ordered = sorted(source_ids)
    for start in range(0, len(ordered), at_once):
        yield ordered[start : start + at_once]


@dataclass(frozen=True, kw_only=True)
class _FieldFrames:
    """The current frames with a WCS that may reach to a field, in an order that arrival has no part in."""

    rows: list[Any]
    """Of instrument, filter, detector, reduction; and more."""
    sky: SkyFrames


def _frames(session: Session, places: NDArray[np.float64]) -> _FieldFrames:
    """Read the frames whose declinations may reach to these places."""
    rows = list(session.execute(_frames_between(*_declinations(places))).all()) if len(places) else []
    ra, dec, scale, ny, nx = np.array([tuple(row[4:]) for row in rows], float).reshape(-1, 5).T
    cameras = {one: number for number, one in enumerate(dict.fromkeys((row[0], row[1]) for row in rows))}
    chips = {one: number for number, one in enumerate(sorted({row[2] for row in rows}))}
    sky = SkyFrames(
        center=unit_vectors(ra, dec),
        radius=chords(0.5 * np.hypot(ny, nx) * scale),
        camera=np.array([cameras[row[0], row[1]] for row in rows], np.intp),
        chip=np.array([chips[row[2]] for row in rows], np.intp),
    )
    return _FieldFrames(rows=rows, sky=sky)


def _declinations(places: NDArray[np.float64]) -> tuple[float, float]:
    """Return the lowest and the highest declination of places, degrees."""
    dec = np.degrees(np.arcsin(np.clip(places[:, 2], -1.0, 1.0)))
    return float(dec.min()), float(dec.max())


def _frames_between(lowest: float, highest: float) -> Any:
    """Return the statement for frames that may see something between two declinations."""
    # No corner is farther from the middle than half of both sides together; degrees.
    reach = col(Reduction.scale) * (col(Frame.ny) + col(Frame.nx)) / 7200.0
    return (
        select(
            col(Frame.instrument), col(Frame.filter), col(Frame.detector), col(Reduction.id),
            col(Reduction.ra_center), col(Reduction.dec_center), col(Reduction.scale),
            col(Frame.ny), col(Frame.nx),
        )
        .join(Reduction, col(Reduction.frame_id) == col(Frame.id))
        .join(Exposure, col(Exposure.id) == col(Frame.exposure_id))
        .where(
            col(Reduction.current),
            col(Reduction.ra_center).is_not(None),
            col(Reduction.dec_center) + reach >= lowest,
            col(Reduction.dec_center) - reach <= highest,
        )
        .order_by(
            col(Frame.instrument), col(Frame.filter), col(Frame.mjd_mid), col(Exposure.sha256),
            col(Frame.detector),
        )
    )  # fmt: skip


def _cameras(field: _FieldFrames, places: NDArray[np.float64]) -> list[_Camera]:
    """Return the cameras and filters that saw a patch, with all their current frames that reach to it."""
    near = field.sky.reaching(places)
    if not len(near):
        return []
    found: dict[tuple[str, str], dict[tuple[Any, ...], list[int]]] = {}
    ranks: dict[int, int] = {}
    for one, pointing in zip(near.tolist(), field.sky.pointings(near).tolist(), strict=True):
        instrument, name, _, reduction = field.rows[one][:4]
        of_camera = found.setdefault((instrument, name), {})
        of_camera.setdefault(tuple(pointing), []).append(int(reduction))
        ranks[int(reduction)] = one
    return [
        _Camera(instrument=instrument, filter=name, pointings=list(pointings.values()), ranks=ranks)
        for (instrument, name), pointings in found.items()
    ]


def _places(session: Session, source_ids: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the sources that there are, ascending, and their unit vectors."""
    columns: Any = select(col(Source.id), col(Source.ra), col(Source.dec))
    parts = [read_numbers(session, columns.where(col(Source.id).in_(some))) for some in _blocks(source_ids)]
    # The numbers of sources have 53 bits: a double holds each.
    table = np.concatenate(parts, axis=1)
    table = table[:, np.argsort(table[0])]
    return table[0].astype(np.int64), unit_vectors(table[1], table[2])


def _setups(session: Session, camera: _Camera, of_field: NDArray[np.int64]) -> list[_Setup]:
    """Return the groups of frames that stars tie together, each with offsets of its own.

    Chips side by side and fields far apart share no star: what the stars of one say holds for no other.
    """
    best = [_references(session, of_field, _sample(frames)) for frames in camera.pointings]
    every = np.unique(np.array([one for some in best for one in some], np.int64))
    setups = []
    for table in _groups(_read_all(session, every.tolist(), camera)):
        fewer = _thinned(best, np.unique(table.source))
        kept = table.take(np.isin(table.source, fewer)) if fewer is not None else table
        setups += [_setup(part) for part in _groups(kept)]
    return setups


def _thinned(best: list[list[int]], group: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the best references of each pointing of a group; None where they are not too many."""
    if len(group) <= _MOST_REFERENCES:
        return None
    within = set(group.tolist())
    of_group = [some for some in best if within.intersection(some)]
    each = max(_MOST_REFERENCES // len(of_group), _FEWEST_REFERENCES)
    return np.unique(np.array([one for some in of_group for one in some[:each]], np.int64))


def _groups(table: _Rows) -> list[_Rows]:
    """Return the measurements of reference stars, split by what frames tie together."""
    _, frame = np.unique(table.frame, return_inverse=True)
    _, star = np.unique(table.source, return_inverse=True)
    label = tied(frame, star)
    return [table.take(label == one) for one in range(int(label.max(initial=-1)) + 1)]


def _setup(table: _Rows) -> _Setup:
    frames, frame = np.unique(table.frame, return_inverse=True)
    references, star = np.unique(table.source, return_inverse=True)
    flux = np.full((len(frames), len(references)), np.nan)
    error = flux.copy()
    flux[frame, star], error[frame, star] = table.flux, table.flux_err
    offsets = field_offsets(flux, error, np.isfinite(flux))
    return _Setup(frames=frames, offsets=offsets, references=references[offsets.stars])


def _sample(frames: list[int]) -> list[int]:
    return [frames[int(one)] for one in np.unique(np.linspace(0, len(frames) - 1, _SAMPLE).astype(int))]


def _references(session: Session, of_field: NDArray[np.int64], frames: list[int]) -> list[int]:
    """Return the bright sources that are on most of these frames, the best first."""
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
    known = np.isin([row[0] for row in rows], of_field)
    best = sorted(compress(rows, known), key=lambda row: (-row[1], -row[2], row[0]))[:_REFERENCES]
    return [int(row[0]) for row in best if row[0] is not None]


def _read_all(session: Session, sources: Sequence[int], camera: _Camera) -> _Rows:
    parts = [_read(session, some, camera) for some in _blocks(sources, camera.at_once)]
    parts = parts or [_read(session, [], camera)]
    names = _Rows.__dataclass_fields__
    return _Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _read(session: Session, sources: Sequence[int], camera: _Camera) -> _Rows:
    columns = (
        "source_id", "reduction_id", "mjd_mid", "bjd_tdb", "flux", "flux_err", "mag", "flags", "fwhm_px",
        "x", "y",
    )  # fmt: skip
    of_frame = (col(Reduction.fwhm_px), col(Frame.nx), col(Frame.ny))
    rows = session.execute(
        select(*(col(getattr(Measurement, one)) for one in columns), *of_frame)
        .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .where(
            col(Measurement.source_id).in_(sources),
            col(Measurement.kind) == _KIND,
            col(Measurement.filter) == camera.filter,
            col(Frame.instrument) == camera.instrument,
            col(Reduction.current),
            col(Measurement.flags).op("&")(_NO_USE) == 0,
            col(Measurement.flux) > 0,
        )
        .order_by(col(Measurement.source_id), col(Measurement.mjd_mid))
    ).all()
    rows = sorted(
        (row for row in rows if row[1] in camera.ranks), key=lambda row: (row[0], camera.ranks[row[1]])
    )
    table = list(zip(*rows, strict=True)) or [()] * (len(columns) + len(of_frame))
    own, x, y, usual, nx, ny = (np.array(one, float) for one in table[8:])
    return _Rows(
        source=np.array(table[0], np.int64),
        frame=np.array([camera.ranks[one] for one in table[1]], np.int64),
        mjd=np.array(table[2], float),
        bjd=np.array(table[3], float),
        flux=np.array(table[4], float),
        flux_err=np.array(table[5], float),
        mag=np.array(table[6], float),
        flags=np.array(table[7], np.int64),
        width=own / usual,
        near_edge=_from_edge(x, y, nx, ny) < EDGE_FWHM * usual,
    )


def _from_edge(
    x: NDArray[np.float64], y: NDArray[np.float64], nx: NDArray[np.float64], ny: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance from the nearest edge, pixels.

    The size is that of the raw frame: an edge that overscan was cut from counts as farther than it is.
    """
    return np.minimum(np.minimum(x + 0.5, nx - 0.5 - x), np.minimum(y + 0.5, ny - 0.5 - y))


def _of_camera(
    session: Session, camera: _Camera, of_field: NDArray[np.int64], source_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the rows of all sources of a patch with one camera and filter."""
    setups = _setups(session, camera, of_field)
    curves: list[list[_Judged]] = [[] for _ in setups]
    for some in _blocks(source_ids, camera.at_once):
        for number, curve in _curves(setups, _read(session, some, camera)):
            curves[number].append(_Judged.of(curve))
    rows: dict[int, dict[str, Any]] = {}
    for of_setup in curves:
        # Brightness has a zero of its own in each group, so stars are judged by those of theirs.
        rows |= {row["source_id"]: row for row in _judged_rows(camera, of_setup)}
    variable = sorted(one for one, row in rows.items() if row["variable"])
    for some in _blocks(variable, camera.at_once):
        for _, curve in _curves(setups, _read(session, some, camera)):
            rows[curve.row["source_id"]] |= _period(curve)
    return list(rows.values())


def _judged_rows(camera: _Camera, curves: list[_Judged]) -> Iterator[dict[str, Any]]:
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
            "kind": _KIND,
            "expected_scatter": finite(judged.expected[number]),
            "excess": finite(judged.excess[number]),
            "variable": bool(judged.variable[number]),
            "period": None,
            "period_err": None,
            "period_fap": None,
        }


def _period(curve: _Curve) -> dict[str, Any]:
    known = np.isfinite(curve.time)
    period = find_period(curve.time[known], curve.mag[known], curve.error[known])
    if period is None:
        return {}
    return {"period": period.days, "period_err": period.error, "period_fap": period.false_alarm}


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What a star is judged by. Its curve is read again if it varies: not all curves are in memory."""

    row: dict[str, Any]
    statistics: StarStatistics
    brightness: float

    @classmethod
    def of(cls, curve: _Curve) -> _Judged:
        return cls(row=curve.row, statistics=curve.statistics, brightness=curve.brightness)


@dataclass(frozen=True, kw_only=True)
class _Curve(_Judged):
    """A source's magnitudes with the frames' offsets taken out."""

    time: NDArray[np.float64]
    mag: NDArray[np.float64]
    error: NDArray[np.float64]


def _curves(setups: list[_Setup], rows: _Rows) -> Iterator[tuple[int, _Curve]]:
    """Yield the curve of each source, and the group whose frames have most of its measurements."""
    if not setups or not len(rows.source):
        return
    frames = np.concatenate([one.frames for one in setups])
    group = np.repeat(np.arange(len(setups)), [len(one.frames) for one in setups])
    order = np.argsort(frames)
    frames, group = frames[order], group[order]
    place = np.searchsorted(frames, rows.frame).clip(0, len(frames) - 1)
    known = frames[place] == rows.frame
    bounds = np.flatnonzero(np.diff(rows.source)) + 1
    for part in np.split(np.arange(len(rows.source)), bounds):
        counts = np.bincount(group[place[part[known[part]]]], minlength=len(setups))
        number = int(np.argmax(counts))
        own = rows.take(part)
        mag, error = _without_offsets(setups[number], own)
        good = np.isfinite(mag) & np.isfinite(error) & (error > 0)
        if good.any():
            yield number, _curve(own.take(good), mag[good], error[good])


def _without_offsets(setup: _Setup, own: _Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return magnitudes against the ensemble, of which the star itself is no part, and their errors."""
    offsets = setup.offsets
    mag, noise = magnitudes(own.flux, own.flux_err)
    frame = np.searchsorted(setup.frames, own.frame).clip(0, len(setup.frames) - 1)
    known = setup.frames[frame] == own.frame
    star = int(np.searchsorted(setup.references, own.source[0]))
    weight = np.zeros(len(frame))
    if star < len(setup.references) and setup.references[star] == own.source[0]:
        weight = offsets.weight[frame, star]
    total = 1.0 / offsets.variance[frame]
    others = total - weight
    alone = others <= 1e-9 * total
    residual = mag - offsets.frame[frame]
    told = known & np.isfinite(residual)
    middle = np.median(residual[told]) if told.any() else 0.0
    # A star that has pulled the offset towards itself deviates by more from what the others say.
    residual = middle + (residual - middle) * (1.0 + weight / np.where(alone, 1.0, others))
    usable = known & ~alone
    return np.where(usable, residual, np.nan), np.hypot(noise, 1.0 / np.sqrt(np.where(alone, 1.0, others)))


def _curve(own: _Rows, mag: NDArray[np.float64], error: NDArray[np.float64]) -> _Curve:
    statistics = star_statistics(mag, error)
    calibrated = own.mag[np.isfinite(own.mag)]
    widths = own.width[np.isfinite(own.width)]
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
        "near_edge": float(np.mean(own.near_edge)),
        "width": float(np.median(widths)) if len(widths) else None,
    }
    return _Curve(
        row=row, statistics=statistics, brightness=float(np.median(mag)), time=own.bjd, mag=mag, error=error
    )
