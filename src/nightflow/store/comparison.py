"""Comparison stars from the store: the other sources on the same current reductions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlmodel import Session, col

from nightflow.flags import INCOMPLETE
from nightflow.lightcurves.ensemble import Comparison, ensemble_curve
from nightflow.store.models import Measurement, Reduction

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


@dataclass(frozen=True, kw_only=True)
class Differential:
    """Differential magnitudes of a light curve.

    Attributes
    ----------
    diff_mag, diff_mag_err : ndarray of float64, shape (n,)
        NaN where there is no ensemble.
    described : str
        The stars in the ensembles, by source and weight.
    comparisons : dict of (str, str) to tuple of int
        Instrument and filter -> the sources in the ensemble.
    """

    diff_mag: NDArray[np.float64]
    diff_mag_err: NDArray[np.float64]
    described: str
    comparisons: dict[tuple[str, str], tuple[int, ...]]


def differential(
    session: Session, source_id: int, kind: str, columns: dict[str, NDArray[Any]]
) -> Differential:
    """Return the light curve against an ensemble, each camera and filter on its own.

    Parameters
    ----------
    source_id : int
        The target; never in its own ensemble.
    kind : str
        Of the measurements. Those of forced photometry are compared with the apertures of detections, which
        are measured alike.
    columns : dict
        Of the light curve: id (reduction), instrument, filter, flux, flux_err, flags.
    """
    kind = "aperture" if kind == "forced" else kind
    n = len(columns["id"])
    comparisons: dict[tuple[str, str], tuple[int, ...]] = {}
    diff, error, described = np.full(n, np.nan), np.full(n, np.nan), []
    for instrument, name in sorted(set(zip(columns["instrument"], columns["filter"], strict=True))):
        rows = np.flatnonzero((columns["instrument"] == instrument) & (columns["filter"] == name))
        stars = _stars(session, source_id, kind, columns["id"][rows], columns["flux"][rows])
        flux, flux_err, usable = _matrix(session, stars, kind, columns, rows)
        curve = ensemble_curve(flux, flux_err, 0, usable)
        diff[rows], error[rows] = curve.diff_mag, curve.diff_mag_err
        used = [stars[one.star - 1] for one in curve.comparisons if one.weight > 0]
        comparisons[str(instrument), str(name)] = tuple(used)
        described.append(_described(str(instrument), str(name), stars, curve.comparisons))
    return Differential(
        diff_mag=diff, diff_mag_err=error, described="; ".join(described), comparisons=comparisons
    )


def _stars(
    session: Session, target: int, kind: str, reductions: NDArray[np.int64], flux: NDArray[np.float64]
) -> list[int]:
    """Return the sources seen on most of a sample of the frames, those as bright as the target first."""
    positive = flux[flux > 0]
    if not len(positive):
        return []
    level = float(np.median(positive))
    places = np.unique(np.linspace(0, len(reductions) - 1, _SAMPLE).round().astype(int))
    mean, seen = func.avg(col(Measurement.flux)), func.count()
    rows = session.execute(
        select(col(Measurement.source_id), mean, seen)
        .where(
            col(Measurement.reduction_id).in_([int(one) for one in reductions[places]]),
            col(Measurement.kind) == kind,
            col(Measurement.source_id).is_not(None),
            col(Measurement.source_id) != target,
            col(Measurement.flux).between(level * _FAINTER, level * _BRIGHTER),
        )
        .group_by(col(Measurement.source_id))
    ).all()
    order = sorted(rows, key=lambda row: (-row[2], abs(np.log(row[1] / level)), row[0]))
    return [int(row[0]) for row in order[:_MOST]]


def _matrix(
    session: Session, stars: list[int], kind: str, columns: dict[str, NDArray[Any]], rows: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return flux, error and usability, shape (frames, 1 + stars), the target in the first column."""
    shape = (len(rows), 1 + len(stars))
    flux, flux_err, flags = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.int64)
    flux[:, 0], flux_err[:, 0] = columns["flux"][rows], columns["flux_err"][rows]
    flags[:, 0] = columns["flags"][rows]
    row_of = {int(reduction): row for row, reduction in enumerate(columns["id"][rows])}
    column_of = {star: 1 + column for column, star in enumerate(stars)}
    for reduction, star, *values in _measurements(session, stars, kind):
        if reduction in row_of:
            place = row_of[reduction], column_of[star]
            flux[place], flux_err[place], flags[place] = values
    return flux, flux_err, (flags & _NO_USE) == 0


def _measurements(session: Session, stars: list[int], kind: str) -> Any:
    if not stars:
        return []
    return session.execute(
        select(
            col(Measurement.reduction_id),
            col(Measurement.source_id),
            col(Measurement.flux),
            col(Measurement.flux_err),
            col(Measurement.flags),
        )
        .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
        .where(col(Measurement.source_id).in_(stars), col(Measurement.kind) == kind, col(Reduction.current))
    )


def _described(instrument: str, name: str, stars: list[int], comparisons: tuple[Comparison, ...]) -> str:
    used = [f"{stars[one.star - 1]} ({one.weight:.0%})" for one in comparisons if one.weight > 0]
    more = f" and {len(used) - _NAMED} more" if len(used) > _NAMED else ""
    return f"{instrument} {name}: {', '.join(used[:_NAMED]) if used else 'none'}{more}"
