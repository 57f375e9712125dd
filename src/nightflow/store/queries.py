"""Questions about the sky: which source is there, and its light curve.

Only current reductions answer. Each question goes by an index: HEALPix for places, the source for light
curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, bindparam, func, select
from sqlmodel import Session, col

from nightflow.lightcurves.associate import match_radius, separation
from nightflow.lightcurves.light_curve import COLUMNS, LightCurve
from nightflow.lightcurves.microjansky import microjansky
from nightflow.lightcurves.upper_limits import LEVEL, upper_limits
from nightflow.store.comparison import differential
from nightflow.store.database import Database
from nightflow.store.healpix import cone
from nightflow.store.models import Exposure, Frame, Measurement, Reduction, Source, plain_text
from nightflow.store.rows import read_rows
from nightflow.store.shared_notes import shared_notes
from nightflow.store.sources import in_ranges, moved_to

__all__ = [
    "FoundSource", "Motion", "curve_of_rows", "find_source", "find_sources", "light_curve",
    "measurements_of", "measurements_query", "measurements_statement",
]  # fmt: skip


_LONGEST_YEARS = 150.0
"""Between the epoch of a target and a frame: plates are as old."""
_COARSEST = 60.0
"""Arcsec; 1.5 of the coarsest pixels that a source is looked for with."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Proper motion of what is looked for.

    Attributes
    ----------
    pmra, pmdec : float
        mas/yr, pmra with the cosine of the declination in it.
    epoch : float
        Julian year of the place that is asked for.
    """

    pmra: float
    pmdec: float
    epoch: float

    @property
    def farthest(self) -> float:
        """Arcsec that it may have moved to or from any night in the store."""
        return float(np.hypot(self.pmra, self.pmdec)) / 1000.0 * _LONGEST_YEARS

    def place(self, ra: float, dec: float, year: float) -> tuple[float, float]:
        """Return where it is at a Julian year, ICRS degrees."""
        moved = moved_to(year, *(np.array([one]) for one in (ra, dec, self.pmra, self.pmdec, self.epoch)))
        return float(moved[0][0]), float(moved[1][0])


@dataclass(frozen=True, kw_only=True)
class FoundSource:
    """A source near a place.

    Attributes
    ----------
    source : Source
        Its row.
    separation : float
        Arcsec from the place that was asked for.
    """

    source: Source
    separation: float


def find_sources(
    database: Database, ra: float, dec: float, radius: float, motion: Motion | None = None
) -> list[FoundSource]:
    """Return the sources with a current measurement within ``radius`` arcsec, nearest first.

    Parameters
    ----------
    ra, dec : float
        ICRS degrees.
    radius : float
        Arcsec.
    motion : Motion, optional
        How what is looked for moves: each source is compared with its place at the source's own epoch.
    """
    margin = 0.0 if motion is None else motion.farthest
    inside = in_ranges(cone(ra, dec, (radius + margin) / 3600.0))
    with database.session() as session:
        rows = list(session.scalars(select(Source).where(inside, col(Source.n_obs) > 0)))
    found = [
        FoundSource(source=row, separation=float(separation(*place, row.ra, row.dec)))
        for row in rows
        for place in [(ra, dec) if motion is None else motion.place(ra, dec, row.epoch)]
    ]
    near = [one for one in found if one.separation <= radius]
    return sorted(near, key=lambda one: (one.separation, one.source.id))


def find_source(
    database: Database, ra: float, dec: float, radius: float | None = None, motion: Motion | None = None
) -> FoundSource | None:
    """Return the nearest source; None where there is none within ``radius`` arcsec.

    Without a radius it is the larger of 3" and 1.5 pixels of the frames that the source was measured on.
    """
    found = find_sources(database, ra, dec, _COARSEST if radius is None else radius, motion)
    if radius is not None:
        return found[0] if found else None
    return next((one for one in found if one.separation <= _reach(database, one.source)), None)


def _reach(database: Database, source: Source) -> float:
    """Return how far from its place a source may be asked for, arcsec."""
    scales = (
        select(func.max(col(Reduction.scale)))
        .join(Measurement, col(Measurement.reduction_id) == col(Reduction.id))
        .where(col(Measurement.source_id) == source.id, col(Reduction.current))
    )
    with database.session() as session:
        return match_radius(session.execute(scales).scalar())


def measurements_of(
    session: Session, source_id: int, kind: str = "aperture", filter: str | None = None
) -> list[dict[str, Any]]:
    """Return the rows behind `light_curve`: one read by the index on (source, time)."""
    if filter is None:
        return read_rows(session, measurements_statement(kind), source=int(source_id))
    by_filter = measurements_statement(kind, by_filter=True)
    return read_rows(session, by_filter, source=int(source_id), filter=plain_text(filter))


@cache
def measurements_statement(kind: str, *, by_filter: bool = False) -> Select[Any]:
    """Return the statement for the measurements of one source, `bindparam` source, and of one filter."""
    statement = measurements_query(kind).where(col(Measurement.source_id) == bindparam("source"))
    return statement.where(col(Measurement.filter) == bindparam("filter")) if by_filter else statement


@cache
def measurements_query(kind: str) -> Select[Any]:
    """Return the statement for all current measurements of a kind with their frames, in the order of time.

    Statements do not change, and to make this one takes a quarter of the time that a light curve is read in.
    """
    measured = [col(getattr(Measurement, name)) for name in _MEASURED]
    reduced = [col(getattr(Reduction, name)) for name in _ON_REDUCTION]
    labelled: list[Any] = [
        col(Measurement.source_id).label("source"),
        col(Reduction.scale),
        col(Reduction.fwhm_px).label("fwhm"),
    ]
    camera = (col(Frame.instrument), col(Frame.detector))
    return (
        select(*measured, *reduced, *labelled, col(Frame.airmass), *camera, col(Exposure.path))
        .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(col(Measurement.kind) == kind, col(Reduction.current))
        .order_by(col(Measurement.mjd_mid), col(Exposure.sha256), col(Frame.detector))
    )


def light_curve(
    database: Database, source_id: int, *, filter: str | None = None, kind: str = "aperture"
) -> LightCurve:
    """Return the light curve of a source, empty where it was never measured like that.

    Parameters
    ----------
    source_id : int
        See `find_source`.
    filter : str, optional
        Only this one.
    kind : str
        aperture, psf or forced.
    """
    with database.session() as session:
        rows = measurements_of(session, source_id, kind, filter)
        curve = curve_of_rows(session, rows, kind, source_id)
        source = session.get(Source, source_id)
    if source is not None:
        place = f"{source.id} at RA {source.ra:.6f}, Dec {source.dec:+.6f} (ICRS, degrees)"
        curve.meta["source"] = place
    return curve


def curve_of_rows(session: Session, rows: Sequence[Any], kind: str, source_id: int = 0) -> LightCurve:
    """Return the light curve that rows of `measurements_query` make.

    Parameters
    ----------
    session : Session
        For the comparison stars.
    rows : sequence of mappings
    kind : str
        Of the measurements.
    source_id : int
        The source; 0 where it is none. Its own light is kept out of the comparison stars by place as well.
    """
    columns = {name: _column(rows, name) for name in (*_MEASURED, *_REDUCED)}
    own = _own_zero_points(columns)
    curves = differential(session, source_id, kind, columns)
    flux_ujy, flux_ujy_err = (_flux_density(columns, columns[name], own) for name in ("flux", "flux_err"))
    columns |= {"frame": columns["path"], "source_id": np.full(len(rows), source_id)}
    columns |= {
        "diff_mag": curves.diff_mag,
        "diff_mag_err": curves.diff_mag_err,
        "flux_ujy": flux_ujy,
        "flux_ujy_err": flux_ujy_err,
        "upper_limit": _upper_limits(columns, own),
    }
    # A magnitude of noise, with an error of hundreds, would only be mistaken for one.
    limited = np.isfinite(columns["upper_limit"])
    columns |= {name: np.where(limited, np.nan, columns[name]) for name in _MAGNITUDES}
    meta = _described(columns) | {"comparison_stars": curves.described}
    if notes := shared_notes(session, columns["id"]):
        meta["frames_say"] = "; ".join(notes)
    if kind == "forced":
        meta["upper_limit"] = f"{LEVEL:g} sigma"
    return LightCurve(
        columns={column.name: columns[column.name] for column in COLUMNS},
        meta=meta,
        comparisons=curves.comparisons,
    )


_MEASURED = (
    "mjd_mid", "bjd_tdb", "filter", "kind", "mag", "mag_err", "flux", "flux_err", "x", "y", "ra", "dec",
    "fwhm_px", "flags",
)  # fmt: skip
_ON_REDUCTION = ("zp", "zp_err", "zp_origin", "mag_system", "zp_band", "grade", "id")
_REDUCED = (*_ON_REDUCTION, "scale", "fwhm", "airmass", "instrument", "detector", "path")
_TEXT = frozenset(
    {"filter", "kind", "mag_system", "zp_band", "zp_origin", "grade", "instrument", "detector", "path"}
)
_INTEGER = frozenset({"flags", "id"})
_MAGNITUDES = ("mag", "mag_err", "diff_mag", "diff_mag_err")


def _column(rows: Any, name: str) -> NDArray[Any]:
    values = [row[name] for row in rows]
    if name in _TEXT:
        return np.array([value or "" for value in values], dtype=object)
    if name in _INTEGER:
        return np.array(values, dtype=np.int64)
    return np.array(values, dtype=np.float64)


def _systems(columns: dict[str, NDArray[Any]]) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield each photometric system and band, and the rows that are in it."""
    for system, band in sorted(set(zip(columns["mag_system"], columns["zp_band"], strict=True))):
        yield system, band, (columns["mag_system"] == system) & (columns["zp_band"] == band)


def _flux_density(
    columns: dict[str, NDArray[Any]], flux: NDArray[np.float64], own: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return fluxes, or their errors, in microjansky, each row by the system of its own zero point."""
    out = np.full(len(flux), np.nan)
    for system, band, rows in _systems(columns):
        out[rows] = microjansky(flux[rows], own[rows], system, band)
    return out


def _upper_limits(columns: dict[str, NDArray[Any]], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return magnitudes that forced apertures with little light in them stay below, NaN for other rows."""
    with np.errstate(divide="ignore"):
        limit = own - 2.5 * np.log10(upper_limits(columns["flux"], columns["flux_err"]))
    return np.where(columns["kind"] == "forced", limit, np.nan)


def _own_zero_points(columns: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Return the zero points with the source's own colour term in them, as its magnitudes have it.

    Where a flux has no magnitude, because it is not positive, the source's median offset from the frames'
    zero points stands for its colour.
    """
    flux, mag, zero_point = columns["flux"], columns["mag"], columns["zp"]
    known = np.isfinite(mag) & (flux > 0)
    own = np.where(known, mag + 2.5 * np.log10(np.where(known, flux, 1.0)), np.nan)
    for _, _, rows in _systems(columns):
        offsets = (own - zero_point)[rows & np.isfinite(own - zero_point)]
        typical = float(np.median(offsets)) if len(offsets) else 0.0
        own[rows & ~known] = zero_point[rows & ~known] + typical
    return own


def _described(columns: dict[str, NDArray[Any]]) -> dict[str, str]:
    systems = {
        f"{name}: {system} ({band})"
        for name, system, band in zip(
            columns["filter"], columns["mag_system"], columns["zp_band"], strict=True
        )
        if system
    }
    return {"time_scale": "mjd_mid in UTC, bjd_tdb in TDB", "magnitude_system": ", ".join(sorted(systems))}
