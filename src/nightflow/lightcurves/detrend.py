"""A differential light curve without its trends with airmass, place on the chip and FWHM.

A trend must not take the event with it: a transit in the middle of the night looks as the airmass does. So
the trend rests on the points outside the event. Where its times are not given, the piece of the curve is
sought that, raised or lowered as a whole beside the trends, fits best (the box of Kovacs, Zucker & Mazeh
2002, A&A 391, 369), and left out if it pays. What pays, box or trend, is told by the Bayesian information
criterion (Schwarz 1978); trends that do not are not taken off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nightflow.lightcurves.light_curve import LightCurve
from nightflow.robust import robust_sigma

__all__ = ["TERMS", "Detrended", "Term", "detrend", "detrended_curve"]

TERMS = ("airmass", "x", "y", "fwhm_px")
"""Columns of a light curve that a trend may follow."""

_EDGES = 24
"""Times at which an event may begin or end."""
_LEAST_EVENT, _LEAST_OUTSIDE = 0.05, 0.1
"""Of the points: the shortest event, and what must be left on either side of it."""
_MARGIN = 0.04
"""Of the points, left out beside the event: its slopes."""
_SURE = 10.0
"""By how much an event must lower the criterion: strong evidence (Kass & Raftery 1995)."""
_CLIP = 4.0
_FEWEST_A_TERM = 8
"""Points for each coefficient."""


@dataclass(frozen=True)
class Term:
    """One trend that was taken off.

    Attributes
    ----------
    name : str
        Of `TERMS`.
    slope, slope_err : float
        Magnitudes per unit of the column.
    """

    name: str
    slope: float
    slope_err: float


@dataclass(frozen=True, kw_only=True)
class Detrended:
    """A light curve without trends.

    Attributes
    ----------
    mag : ndarray of float64, shape (n,)
        Median of the points outside the event 0; NaN where a column or the magnitude is missing.
    mag_err : ndarray of float64, shape (n,)
        The error of the point, and of the trend there.
    terms : tuple of Term
        What was taken off; empty where no trend pays.
    outside : ndarray of bool, shape (n,)
        The points that the trend rests on.
    """

    mag: NDArray[np.float64]
    mag_err: NDArray[np.float64]
    terms: tuple[Term, ...]
    outside: NDArray[np.bool_]


def detrend(
    mag: NDArray[np.floating],
    mag_err: NDArray[np.floating],
    columns: Mapping[str, NDArray[np.floating]],
    event: NDArray[np.bool_] | None = None,
) -> Detrended:
    """Take off the trends of a light curve with the columns that it truly follows.

    Parameters
    ----------
    mag, mag_err : ndarray of float, shape (n,)
        Differential magnitudes in the order of time, one camera and filter.
    columns : mapping of str to ndarray of float, shape (n,)
        What they may depend on, linearly.
    event : ndarray of bool, shape (n,), optional
        Points of a transit or eclipse: the trend does not rest on them, but is taken off them as well. Where
        not given, an event is sought.
    """
    known = np.isfinite(mag) & np.isfinite(mag_err) & (mag_err > 0)
    for values in columns.values():
        known &= np.isfinite(values)
    quiet = known if event is None else known & ~event
    best, outside = _best(mag, mag_err, columns, quiet, sought=event is None)
    out, error = np.where(known, mag, np.nan), np.where(known, mag_err, np.nan)
    terms: list[Term] = []
    if best:
        design = _design(columns, best, outside)
        coefficients, covariance = _weighted(design[outside], mag[outside], mag_err[outside])
        out[known] = mag[known] - design[known, 1:] @ coefficients[1:]
        trend = np.einsum("ij,jk,ik->i", design[known, 1:], covariance[1:, 1:], design[known, 1:])
        error[known] = np.sqrt(mag_err[known] ** 2 + trend)
        terms = [
            Term(name, float(coefficients[k]), float(np.sqrt(covariance[k, k])))
            for k, name in enumerate(best, start=1)
        ]
    if outside.any():
        out -= np.median(out[outside])
    return Detrended(mag=out, mag_err=error, terms=tuple(terms), outside=outside)


def detrended_curve(
    curve: LightCurve, terms: Sequence[str], event: tuple[float, float] | None = None
) -> LightCurve:
    """Return a light curve whose differential magnitudes have lost their trends, each filter by itself.

    Parameters
    ----------
    curve : LightCurve
    terms : sequence of str
        Of `TERMS`.
    event : tuple of float, optional
        BJD_TDB of the beginning and the end of a transit or eclipse.
    """
    columns = dict(curve.columns)
    mag, error = columns["diff_mag"].copy(), columns["diff_mag_err"].copy()
    notes = []
    for name in sorted(set(curve["filter"].tolist())):
        rows = np.flatnonzero(curve["filter"] == name)
        time = curve["bjd_tdb"][rows]
        inside = None if event is None else (time >= event[0]) & (time <= event[1])
        done = detrend(mag[rows], error[rows], {term: curve[term][rows] for term in terms}, inside)
        mag[rows], error[rows] = done.mag, done.mag_err
        taken = ", ".join(f"{one.name} {one.slope:.2g} +- {one.slope_err:.1g}" for one in done.terms)
        used = f"on {np.count_nonzero(done.outside)} of {len(rows)} points"
        notes.append(f"{name}: {taken or 'nothing'} mag per unit, {used}")
    columns |= {"diff_mag": mag, "diff_mag_err": error}
    return replace(curve, columns=columns, meta=curve.meta | {"detrended": "; ".join(notes)})


def _best(
    mag: NDArray[np.floating],
    mag_err: NDArray[np.floating],
    columns: Mapping[str, NDArray[np.floating]],
    quiet: NDArray[np.bool_],
    *,
    sought: bool,
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Return the columns that pay, and the points that agree with their trend.

    All sets of columns are judged on the same points: those outside the event, without outliers from the fit
    to all columns.
    """
    names = tuple(name for name in columns if np.ptp(columns[name][quiet]) > 0) if quiet.any() else ()
    while names and np.count_nonzero(quiet) < _FEWEST_A_TERM * (1 + len(names)):
        names = names[:-1]
    if not names:
        return (), quiet
    rows = np.flatnonzero(quiet)
    design = _design(columns, names, quiet)[rows]
    if sought:
        rows = rows[~_event(design, mag[rows], mag_err[rows])]
        design = _design(columns, names, quiet)[rows]
    coefficients, _ = _weighted(design, mag[rows], mag_err[rows])
    residual = (mag[rows] - design @ coefficients) / mag_err[rows]
    rows = rows[np.abs(residual) <= _CLIP * max(robust_sigma(residual), 1e-12)]
    outside = np.zeros(len(quiet), bool)
    outside[rows] = True
    subsets = [some for size in range(len(names) + 1) for some in combinations(names, size)]
    scores = [_score(_design(columns, some, outside)[rows], mag[rows], mag_err[rows]) for some in subsets]
    return subsets[int(np.argmin(scores))], outside


def _design(
    columns: Mapping[str, NDArray[np.floating]], names: tuple[str, ...], rows: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return a column of ones, and each named column about its mean over ``rows``: shape (n, 1 + k)."""
    centred = [columns[name] - np.mean(columns[name][rows]) for name in names]
    n = len(rows)
    return np.column_stack([np.ones(n), *centred]) if centred else np.ones((n, 1))


def _event(
    design: NDArray[np.float64], mag: NDArray[np.floating], mag_err: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return the points of the best event; none where no event pays."""
    n = len(mag)
    best, event = _score(design, mag, mag_err) - _SURE, np.zeros(n, bool)
    least = max(int(_LEAST_OUTSIDE * n), design.shape[1] + 1)
    edges = np.unique(np.linspace(least, max(n - least, least), _EDGES).round().astype(int))
    for first, end in combinations(edges, 2):
        if end - first < max(_LEAST_EVENT * n, 3):
            continue
        inside = np.zeros(n)
        inside[first:end] = 1.0
        # Its depth is one more coefficient, its beginning and end are two more.
        score = _score(np.column_stack([design, inside]), mag, mag_err) + 2 * float(np.log(n))
        if score < best:
            margin = int(np.ceil(_MARGIN * n))
            best, event = score, np.zeros(n, bool)
            event[max(first - margin, 0) : end + margin] = True
    return event


def _weighted(
    design: NDArray[np.float64], mag: NDArray[np.floating], mag_err: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients and their covariance, widened where the points scatter more than their errors."""
    weighted = design / mag_err[:, None]
    inverse = np.linalg.pinv(weighted.T @ weighted, hermitian=True)
    coefficients = inverse @ (weighted.T @ (mag / mag_err))
    residual = (mag - design @ coefficients) / mag_err
    freedom = max(len(mag) - design.shape[1], 1)
    return coefficients, inverse * max(1.0, float(residual @ residual) / freedom)


def _score(design: NDArray[np.float64], mag: NDArray[np.floating], mag_err: NDArray[np.floating]) -> float:
    """Return the Bayesian information criterion; the scatter is not known and is fitted as well."""
    coefficients, _ = _weighted(design, mag, mag_err)
    weight = 1.0 / mag_err**2
    variance = float(np.average((mag - design @ coefficients) ** 2, weights=weight))
    n = len(mag)
    return n * float(np.log(max(variance, 1e-30))) + design.shape[1] * float(np.log(n))
