"""How strongly the stars of a field follow airmass, place on the chip and FWHM, beside what all share.

What all stars share has gone with the ensemble. What is left differs from star to star: extinction by its
colour, the flat field by its pixels, the aperture's loss by its neighbours. So each comparison star is fitted
against the others, and the spread of the slopes beyond their errors says how large a star's slope may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2

from nightflow.lightcurves.linear_fit import FEWEST_A_TERM, linear_fit
from nightflow.robust import robust_sigma

__all__ = ["FieldCurves", "FieldTrend", "field_trends"]

_FEWEST_STARS = 4
_CHANCE = 1e-3
"""Probability below which slopes that differ by more than their errors are no chance."""
_SURE = 3.0
"""Standard deviations from which the mean slope of the stars is no chance."""
_OUTLIER = 4.0
"""Standard deviations from which a star's slope is its own affair: it varies."""


@dataclass(frozen=True, kw_only=True)
class FieldTrend:
    """Slopes of the comparison stars with one column, in magnitudes per unit of the column.

    Attributes
    ----------
    mean, mean_err : float
        Of the stars, and its standard error.
    spread : float
        Standard deviation of the true slopes from star to star; 0 where their errors explain it all.
    n_stars : int
        That the slopes were fitted for.
    """

    mean: float
    mean_err: float
    spread: float
    n_stars: int

    @property
    def shown(self) -> bool:
        """Whether the stars follow the column at all."""
        return self.spread > 0 or abs(self.mean) > _SURE * self.mean_err


@dataclass(frozen=True, kw_only=True)
class FieldCurves:
    """Comparison stars on the frames of a light curve, in the order of time.

    Attributes
    ----------
    residual, error : ndarray of float64, shape (n_frames, n_stars)
        Of each star against the ensemble of the others, magnitudes; NaN where there is none. The error is
        1 sigma.
    columns : dict of str to ndarray of float64, shape (n_frames, n_stars)
        What each star may follow.
    """

    residual: NDArray[np.float64]
    error: NDArray[np.float64]
    columns: dict[str, NDArray[np.float64]]


def field_trends(curves: FieldCurves, names: Sequence[str]) -> dict[str, FieldTrend]:
    """Return how the comparison stars follow each of the named columns, all fitted together, linearly.

    There is nothing to know from fewer than four stars.
    """
    if not names:
        return {}
    fits = [
        _slopes(
            curves.residual[:, star],
            curves.error[:, star],
            np.column_stack([curves.columns[name][:, star] for name in names]),
        )
        for star in range(curves.residual.shape[1])
    ]
    told = [fit for fit in fits if fit is not None]
    if len(told) < _FEWEST_STARS:
        return {}
    slopes, variances = np.array([fit[0] for fit in told]), np.array([fit[1] for fit in told])
    return {name: _population(slopes[:, k], variances[:, k]) for k, name in enumerate(names)}


def _slopes(
    residual: NDArray[np.float64], error: NDArray[np.float64], columns: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the slopes of one star and their variances, each of shape (k,); None of too few points."""
    rows = np.isfinite(residual) & np.isfinite(error) & (error > 0) & np.isfinite(columns).all(axis=1)
    if np.count_nonzero(rows) < FEWEST_A_TERM * (1 + columns.shape[1]):
        return None
    centred = columns[rows] - columns[rows].mean(axis=0)
    if not (np.ptp(centred, axis=0) > 0).all():
        return None
    design = np.column_stack([np.ones(len(centred)), centred])
    coefficients, covariance = linear_fit(design, residual[rows], error[rows])
    return coefficients[1:], np.diag(covariance)[1:]


def _population(slope: NDArray[np.float64], variance: NDArray[np.float64]) -> FieldTrend:
    """Return mean and spread of true slopes by the method of moments of Paule & Mandel (1982).

    J. Res. Natl. Bur. Stand. 87, 377: the spread is what brings chi-squared about the weighted mean to its
    degrees of freedom. It is 0 unless chance alone would hardly give as much (Cochran's Q).
    """
    near = np.abs(slope - np.median(slope)) <= _OUTLIER * np.sqrt(variance + robust_sigma(slope) ** 2)
    slope, variance = slope[near], variance[near]
    freedom = len(slope) - 1

    def excess(spread_squared: float) -> float:
        mean, weight = _mean(slope, variance + spread_squared)
        return float(weight @ (slope - mean) ** 2) - freedom

    squared = 0.0
    if chi2.sf(excess(0.0) + freedom, freedom) < _CHANCE:
        squared = float(brentq(excess, 0.0, 2.0 * float(np.var(slope)) * len(slope)))
    mean, weight = _mean(slope, variance + squared)
    return FieldTrend(
        mean=mean,
        mean_err=float(1.0 / np.sqrt(weight.sum())),
        spread=float(np.sqrt(squared)),
        n_stars=len(slope),
    )


def _mean(slope: NDArray[np.float64], variance: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    weight = 1.0 / np.maximum(variance, 1e-300)
    return float(weight @ slope / weight.sum()), weight
