"""Comparison stars from the store: the other sources on the same current reductions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import case, func, select
from sqlmodel import Session, col

from nightflow.flags import INCOMPLETE, Flag
from nightflow.lightcurves.associate import match_radius, separation
from nightflow.lightcurves.ensemble import EnsembleCurve, ensemble_curve
from nightflow.store.models import Measurement, Reduction, SourceStatistics

__all__ = ["Differential", "differential"]

_MOST = 80
"""Stars that are tried: more make no better ensemble, only a slower one."""
_SAMPLE = 9
"""Frames, spread over the curve, that stars are looked for on."""
_BRIGHTER, _FAINTER = 250.0, 0.06
"""Flux relative to the target's within which a star may be of use (6 magnitudes brighter, 3 fainter)."""

_NAMED = 20
"""Comparison stars that are named in a light curve's notes."""

_NO_USE = int(INCOMPLETE)
"""A measurement with any of these says nothing of the sky's transparency."""
_NEIGHBOUR = int(Flag.NEIGHBOUR)
_BLENDED = 0.5
"""Part of its measurements with light of a neighbour above which a star is a comparison star only in need."""
_FEWEST = 3
"""Comparison stars without a neighbour below which those with one are taken as well."""

_APERTURE_FWHM, _APERTURE_PIXELS = 2.0, 3.0
"""Radius of an aperture, in FWHM and at least pixels, with something to spare: profiles have 1.5 and 2.5."""


@dataclass(frozen=True, kw_only=True)
class Differential:
    """Differential magnitudes of a light curve.

    Attributes
    ----------
    diff_mag, diff_mag_err : ndarray of float64, shape (n,)
        NaN where there is no ensemble.
    described : str
        The stars in the ensembles, by source and weight, and whether they hold light of neighbours.
    comparisons : dict of (str, str) to tuple of int
        Instrument and filter -> the sources in the ensemble.
    """

    diff_mag: NDArray[np.float64]
    diff_mag_err: NDArray[np.float64]
    described: str
    comparisons: dict[tuple[str, str], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class _Field:
    """Measurements of m stars on n frames, and of the target in the first column.

    Attributes
    ----------
    flux, flux_err : ndarray of float64, shape (n, 1 + m)
        NaN where there is none.
    flags : ndarray of int64, shape (n, 1 + m)
        Bits of `nightflow.flags.Flag`.
    stars : list of int
        Sources of the columns after the first.
    varies : ndarray of bool, shape (m,)
        Which of them vary, as of the last `finish`.
    """

    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    flags: NDArray[np.int64]
    stars: list[int]
    varies: NDArray[np.bool_]

    def take(self, columns: NDArray[np.bool_]) -> _Field:
        """Return the target, and those of the stars that are chosen, shape (m,)."""
        both = np.append(True, columns)
        return _Field(
            flux=self.flux[:, both],
            flux_err=self.flux_err[:, both],
            flags=self.flags[:, both],
            stars=[star for star, chosen in zip(self.stars, columns, strict=True) if chosen],
            varies=self.varies[columns],
        )

    def blended(self) -> NDArray[np.bool_]:
        """Return which stars mostly hold light of a neighbour, shape (m,)."""
        measured = np.isfinite(self.flux[:, 1:])
        beside = measured & ((self.flags[:, 1:] & _NEIGHBOUR) > 0)
        return np.asarray(beside.sum(axis=0) > _BLENDED * measured.sum(axis=0))


def differential(
    session: Session, source_id: int, kind: str, columns: dict[str, NDArray[Any]]
) -> Differential:
    """Return the light curve against an ensemble, each camera and filter on its own.

    No star is compared with light of the target's: what was measured about as near to the target as apertures
    reach, on any frame, is in no ensemble, whatever source it belongs to. A target that moves has many.

    Parameters
    ----------
    source_id : int
        The target's, 0 where it has none.
    kind : str
        Of the measurements. Those of forced photometry are compared with the apertures of detections, which
        are measured alike.
    columns : dict
        Of the light curve: id (reduction), instrument, filter, flux, flux_err, flags; ra, dec (ICRS degrees),
        where the target was on each frame; scale (arcsec per pixel), fwhm (of the frame's stars, pixels).
    """
    kind = "aperture" if kind == "forced" else kind
    n = len(columns["id"])
    comparisons: dict[tuple[str, str], tuple[int, ...]] = {}
    diff, error, described = np.full(n, np.nan), np.full(n, np.nan), []
    for instrument, name in sorted(set(zip(columns["instrument"], columns["filter"], strict=True))):
        rows = np.flatnonzero((columns["instrument"] == instrument) & (columns["filter"] == name))
        stars = _stars(session, source_id, kind, columns["id"][rows], columns["flux"][rows])
        field = _field(session, stars, kind, {key: values[rows] for key, values in columns.items()})
        curve, used, note = _curve(field)
        diff[rows], error[rows] = curve.diff_mag, curve.diff_mag_err
        counted = tuple(used[one.star - 1] for one in curve.comparisons if one.weight > 0)
        comparisons[str(instrument), str(name)] = counted
        described.append(f"{instrument} {name}: {_described(used, curve)}{note}")
    return Differential(
        diff_mag=diff, diff_mag_err=error, described="; ".join(described), comparisons=comparisons
    )


def _curve(field: _Field) -> tuple[EnsembleCurve, list[int], str]:
    """Return the light curve, the sources of its ensemble's columns, and a note.

    Stars that the store knows to vary, by less than an ensemble can see in one light curve, are taken where
    too few others are left.
    """
    if not field.varies.any():
        return _steady(field)
    curve, stars, note = _steady(field.take(~field.varies))
    if _n_used(curve) >= _FEWEST:
        named = _listed([str(star) for star, one in zip(field.stars, field.varies, strict=True) if one])
        return curve, stars, f"{note} (left out as variable: {named})"
    together, every, note = _steady(field)
    return together, every, f"{note} (too few stars that do not vary: {_n_used(curve)})"


def _steady(field: _Field) -> tuple[EnsembleCurve, list[int], str]:
    """Return what `_curve` does, of stars of which none is known to vary, or of all of them.

    Stars with light of neighbours vary with the seeing: they are taken where too few others are left.
    """
    alone = field.take(~field.blended())
    curve = _ensemble(alone)
    if _n_used(curve) >= _FEWEST or len(alone.stars) == len(field.stars):
        return curve, alone.stars, ""
    together = _ensemble(field)
    if _n_used(together) <= _n_used(curve):
        return curve, alone.stars, ""
    return together, field.stars, f" (too few stars without neighbours: {_n_used(curve)})"


def _ensemble(field: _Field) -> EnsembleCurve:
    return ensemble_curve(field.flux, field.flux_err, 0, (field.flags & _NO_USE) == 0)


def _n_used(curve: EnsembleCurve) -> int:
    return sum(one.weight > 0 for one in curve.comparisons)


def _stars(
    session: Session, target: int, kind: str, reductions: NDArray[np.int64], flux: NDArray[np.float64]
) -> list[int]:
    """Return the sources seen on most of a sample of the frames.

    Those without light of neighbours come first, and of them those as bright as the target.
    """
    positive = flux[flux > 0]
    if not len(positive):
        return []
    level = float(np.median(positive))
    places = np.unique(np.linspace(0, len(reductions) - 1, _SAMPLE).round().astype(int))
    mean, seen = func.avg(col(Measurement.flux)), func.count()
    alone = func.sum(case((col(Measurement.flags).bitwise_and(_NEIGHBOUR) == 0, 1), else_=0))
    rows = session.execute(
        select(col(Measurement.source_id), mean, seen, alone)
        .where(
            col(Measurement.reduction_id).in_([int(one) for one in reductions[places]]),
            col(Measurement.kind) == kind,
            col(Measurement.source_id).is_not(None),
            col(Measurement.source_id) != target,
            col(Measurement.flux).between(level * _FAINTER, level * _BRIGHTER),
        )
        .group_by(col(Measurement.source_id))
    ).all()
    order = sorted(rows, key=lambda row: (-row[3], -row[2], abs(np.log(row[1] / level)), row[0]))
    return [int(row[0]) for row in order[:_MOST]]


def _field(session: Session, stars: list[int], kind: str, columns: dict[str, NDArray[Any]]) -> _Field:
    """Return what was measured of the stars, without those that are the target or hold its light."""
    shape = (len(columns["id"]), 1 + len(stars))
    flux, flux_err, flags = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.int64)
    ra, dec = np.full(shape, np.nan), np.full(shape, np.nan)
    for values, name in ((flux, "flux"), (flux_err, "flux_err"), (flags, "flags"), (ra, "ra"), (dec, "dec")):
        values[:, 0] = columns[name]
    row_of = {int(reduction): row for row, reduction in enumerate(columns["id"])}
    column_of = {star: 1 + column for column, star in enumerate(stars)}
    for reduction, star, *values in _measurements(session, stars, kind):
        if reduction in row_of:
            place = row_of[reduction], column_of[star]
            flux[place], flux_err[place], flags[place], ra[place], dec[place] = values
    apart = separation(ra[:, 1:], dec[:, 1:], ra[:, :1], dec[:, :1])
    own = np.any(apart <= _reach(columns["scale"], columns["fwhm"])[:, None], axis=0)
    varies = _varying(session, stars)
    field = _Field(flux=flux, flux_err=flux_err, flags=flags, stars=stars, varies=varies)
    return field.take(np.logical_not(own))


def _varying(session: Session, stars: list[int]) -> NDArray[np.bool_]:
    """Return which sources vary, with any camera and filter."""
    statement = select(col(SourceStatistics.source_id)).where(
        col(SourceStatistics.source_id).in_(stars), col(SourceStatistics.variable)
    )
    return np.isin(stars, list(session.scalars(statement)))


def _reach(scale: NDArray[np.float64], fwhm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return within how many arcsec of the target, on each frame, an aperture holds its light."""
    known, width = np.nan_to_num(scale), np.nan_to_num(fwhm)
    aperture = np.maximum(_APERTURE_PIXELS, _APERTURE_FWHM * width) + 0.5 * width
    return np.maximum([match_radius(float(one)) for one in known], aperture * known)


def _measurements(session: Session, stars: list[int], kind: str) -> Any:
    if not stars:
        return []
    wanted = ("reduction_id", "source_id", "flux", "flux_err", "flags", "ra", "dec")
    return session.execute(
        select(*(col(getattr(Measurement, name)) for name in wanted))
        .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
        .where(col(Measurement.source_id).in_(stars), col(Measurement.kind) == kind, col(Reduction.current))
    )


def _described(stars: list[int], curve: EnsembleCurve) -> str:
    used = [f"{stars[one.star - 1]} ({one.weight:.0%})" for one in curve.comparisons if one.weight > 0]
    return _listed(used) if used else "none"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
