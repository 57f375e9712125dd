"""A differential light curve without its trends with airmass, place on the chip and FWHM.

A trend must not take the event with it: a transit in the middle of the night looks as the airmass does, a
fading star as a drift over the chip. Two things keep the event:

The comparison stars say how strong a trend may be (`nightflow.lightcurves.field_trends`): their mean slope
and the spread of slopes from star to star are what is known before the target is looked at, and its own
points move that estimate by no more than their errors allow (empirical Bayes, Efron & Morris 1973, JASA 68,
117). What the comparison stars do not show is not taken off, nor is a slope that would be out of place among
theirs: it is the target's own.

The trend rests on the points outside the event. Where its times are not given, the piece of the curve is
sought that, raised or lowered as a whole beside the trends, fits best (the box of Kovacs, Zucker & Mazeh
2002, A&A 391, 369), and left out if that pays by the Bayesian information criterion (Schwarz 1978).

Not protected is a slow change of the target that looks like a column, and is no larger than the trends of the
comparison stars: where these show a trend of 5 mmag, a fading by 5 mmag may go with it. Nor does a trend find
out by itself how red the target is: a star far redder than all comparison stars may be refused its trend with
airmass, and `meta` then says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nightflow.lightcurves.field_trends import FieldCurves, FieldTrend, field_trends
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.lightcurves.linear_fit import FEWEST_A_TERM, linear_fit
from nightflow.robust import robust_sigma

__all__ = ["TERMS", "Detrended", "Term", "detrend", "detrended_curve"]

TERMS = ("airmass", "x", "y", "fwhm_px")
"""Columns of a light curve that a trend may follow."""

_EDGES = 24
"""Times at which an event may begin or end."""
_LEAST_EVENT, _LEAST_OUTSIDE = 0.05, 0.2
"""Of the points: the shortest event, and what must be left beside it."""
_MARGIN = 0.04
"""Of the points, left out beside the event: its slopes."""
_SURE = 10.0
"""By how much an event must lower the criterion: strong evidence (Kass & Raftery 1995)."""
_CLIP = 4.0
_OUT_OF_PLACE = 3.0
"""Standard deviations of the comparison stars' slopes, and of its own, from which a slope is refused."""


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
        The error of the point, and of the trend there. The latter is common to points of like columns.
    terms : tuple of Term
        What was taken off.
    refused : dict of str to str
        Column -> why its trend was left in.
    outside : ndarray of bool, shape (n,)
        The points that the trend rests on.
    """

    mag: NDArray[np.float64]
    mag_err: NDArray[np.float64]
    terms: tuple[Term, ...]
    refused: dict[str, str]
    outside: NDArray[np.bool_]


def detrend(
    mag: NDArray[np.floating],
    mag_err: NDArray[np.floating],
    columns: Mapping[str, NDArray[np.floating]],
    field: Mapping[str, FieldTrend],
    event: NDArray[np.bool_] | None = None,
) -> Detrended:
    """Take off the trends of a light curve that its comparison stars let expect.

    Parameters
    ----------
    mag, mag_err : ndarray of float, shape (n,)
        Differential magnitudes in the order of time, one chip and filter.
    columns : mapping of str to ndarray of float, shape (n,)
        What they may depend on, linearly.
    field : mapping of str to FieldTrend
        How the comparison stars depend on it; a column that is missing here is not shown by them.
    event : ndarray of bool, shape (n,), optional
        Points of a transit or eclipse: the trend does not rest on them, but is taken off them as well. Where
        not given, an event is sought.
    """
    known = np.isfinite(mag) & np.isfinite(mag_err) & (mag_err > 0)
    for values in columns.values():
        known &= np.isfinite(values)
    quiet = known if event is None else known & ~event
    names, refused = _shown(columns, field, quiet)
    while True:
        outside = _outside(mag, mag_err, _design(columns, names, quiet), quiet, sought=event is None)
        design = _design(columns, names, outside)
        own, covariance = linear_fit(design[outside], mag[outside], mag_err[outside])
        own, covariance = own[1:], covariance[1:, 1:]
        mean = np.array([field[name].mean for name in names])
        prior = np.diag([field[name].mean_err ** 2 + field[name].spread ** 2 for name in names])
        pull = np.abs(own - mean) / np.sqrt(np.diag(prior) + np.diag(covariance))
        if not names or pull.max() <= _OUT_OF_PLACE:
            break
        worst = names[int(np.argmax(pull))]
        refused[worst] = f"its own slope of {own[np.argmax(pull)]:.2g} is out of place, {_told(field[worst])}"
        names = tuple(name for name in names if name != worst)
    # The mean of two Gaussians, what the stars let expect and what the target's own points say.
    gain = prior @ np.linalg.pinv(prior + covariance, hermitian=True)
    slopes, covariance = mean + gain @ (own - mean), prior - gain @ prior
    out, error = np.where(known, mag, np.nan), np.where(known, mag_err, np.nan)
    out[known] -= design[known, 1:] @ slopes
    trend = np.einsum("ij,jk,ik->i", design[known, 1:], covariance, design[known, 1:])
    error[known] = np.sqrt(mag_err[known] ** 2 + np.maximum(trend, 0.0))
    if outside.any():
        out -= np.median(out[outside])
    terms = tuple(
        Term(name, float(slopes[k]), float(np.sqrt(max(covariance[k, k], 0.0))))
        for k, name in enumerate(names)
    )
    return Detrended(mag=out, mag_err=error, terms=terms, refused=refused, outside=outside)


def detrended_curve(
    curve: LightCurve,
    terms: Sequence[str],
    field: Mapping[tuple[str, str, str], FieldCurves],
    event: tuple[float, float] | None = None,
) -> LightCurve:
    """Return a light curve whose differential magnitudes have lost their trends, by chip and filter.

    Parameters
    ----------
    curve : LightCurve
    terms : sequence of str
        Of `TERMS`.
    field : mapping of (instrument, detector, filter) to FieldCurves
        The comparison stars on the curve's frames.
    event : tuple of float, optional
        BJD_TDB of the beginning and the end of a transit or eclipse.
    """
    columns = dict(curve.columns)
    mag, error = columns["diff_mag"].copy(), columns["diff_mag_err"].copy()
    notes = []
    for key, rows in curve.chips():
        time = curve["bjd_tdb"][rows]
        inside = None if event is None else (time >= event[0]) & (time <= event[1])
        most = max(len(rows) // FEWEST_A_TERM - 1, 0)
        own = {term: curve[term][rows] for term in terms[:most]}
        stars = field_trends(field[key], terms[:most]) if key in field else {}
        done = detrend(mag[rows], error[rows], own, stars, inside)
        mag[rows], error[rows] = done.mag, done.mag_err
        done = replace(
            done, refused=done.refused | dict.fromkeys(terms[most:], _too_few(len(rows), most + 1))
        )
        notes.append(f"{' '.join(part for part in key if part)}: {_described(done)}")
    columns |= {"diff_mag": mag, "diff_mag_err": error}
    return replace(curve, columns=columns, meta=curve.meta | {"detrended": "; ".join(notes)})


def _described(done: Detrended) -> str:
    taken = ", ".join(f"{one.name} {one.slope:.2g} +- {one.slope_err:.1g}" for one in done.terms)
    left = "".join(f", not {name} ({why})" for name, why in done.refused.items())
    used = f"on {np.count_nonzero(done.outside)} of {len(done.mag)} points"
    return f"{taken} mag per unit, {used}{left}" if taken else f"nothing taken off{left}"


def _too_few(n_points: int, n_terms: int) -> str:
    return f"{n_points} points, {FEWEST_A_TERM * (1 + n_terms)} are needed"


def _told(trend: FieldTrend) -> str:
    return (
        f"that of {trend.n_stars} comparison stars is {trend.mean:.2g}, with a spread of {trend.spread:.1g}"
    )


def _shown(
    columns: Mapping[str, NDArray[np.floating]], field: Mapping[str, FieldTrend], rows: NDArray[np.bool_]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the columns that the comparison stars follow, and why not the others."""
    names: list[str] = []
    refused: dict[str, str] = {}
    for name, values in columns.items():
        if name not in field:
            refused[name] = "too few comparison stars with enough points"
        elif not field[name].shown:
            refused[name] = f"not shown by {field[name].n_stars} comparison stars"
        elif np.count_nonzero(rows) < FEWEST_A_TERM * (2 + len(names)):
            refused[name] = _too_few(int(rows.sum()), 1 + len(names))
        elif np.ptp(values[rows]) > 0:
            names.append(name)
        else:
            refused[name] = "it does not change"
    return tuple(names), refused


def _outside(
    mag: NDArray[np.floating],
    mag_err: NDArray[np.floating],
    design: NDArray[np.float64],
    quiet: NDArray[np.bool_],
    *,
    sought: bool,
) -> NDArray[np.bool_]:
    """Return the points that are neither in an event nor outliers from the trends."""
    rows = np.flatnonzero(quiet)
    # Without a trend there is nothing that an event could spoil.
    if design.shape[1] == 1:
        return quiet
    if sought:
        rows = rows[~_event(design[rows], mag[rows], mag_err[rows])]
    coefficients, _ = linear_fit(design[rows], mag[rows], mag_err[rows])
    residual = (mag[rows] - design[rows] @ coefficients) / mag_err[rows]
    rows = rows[np.abs(residual) <= _CLIP * max(robust_sigma(residual), 1e-12)]
    outside = np.zeros(len(quiet), bool)
    outside[rows] = True
    return outside


def _design(
    columns: Mapping[str, NDArray[np.floating]], names: tuple[str, ...], rows: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return a column of ones, and each named column about its mean over ``rows``: shape (n, 1 + k)."""
    centred = [columns[name] - np.mean(columns[name][rows]) for name in names]
    return np.column_stack([np.ones(len(rows)), *centred])


def _event(
    design: NDArray[np.float64], mag: NDArray[np.floating], mag_err: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return the points of the best event, which may lack one of its ends; none where no event pays."""
    n = len(mag)
    best, event = _score(design, mag, mag_err) - _SURE, np.zeros(n, bool)
    least = max(int(_LEAST_OUTSIDE * n), design.shape[1] + 1)
    edges = np.unique(np.linspace(0, n, _EDGES).round().astype(int))
    for first, end in combinations(edges, 2):
        if end - first < max(_LEAST_EVENT * n, 3) or n - (end - first) < least:
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


def _score(design: NDArray[np.float64], mag: NDArray[np.floating], mag_err: NDArray[np.floating]) -> float:
    """Return the Bayesian information criterion; the scatter is not known and is fitted as well."""
    weighted = design / mag_err[:, None]
    coefficients = np.linalg.lstsq(weighted, mag / mag_err, rcond=None)[0]
    variance = float(np.average((mag - design @ coefficients) ** 2, weights=1.0 / mag_err**2))
    n = len(mag)
    return n * float(np.log(max(variance, 1e-30))) + design.shape[1] * float(np.log(n))
