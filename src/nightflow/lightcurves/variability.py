"""How much stars vary: statistics of each light curve, judged against stars of the same brightness.

Stetson's J (Stetson 1996, PASP 108, 851), von Neumann's ratio (von Neumann 1941, Ann. Math. Stat. 12, 367; as
used by Sokolovsky et al. 2017, MNRAS 464, 274), and the scatter that neighbours in brightness have, which
holds what no error bar knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2 as chi2_distribution

from nightflow.robust import MAD_TO_SIGMA

__all__ = [
    "EDGE_FWHM",
    "FEWEST",
    "LEAST_EXCESS",
    "Doubt",
    "Judgement",
    "StarStatistics",
    "doubt_of",
    "judge",
    "relative_width",
    "star_statistics",
]

FEWEST = 8
"""Measurements below which nothing is said to vary."""
_BIN = 0.5
"""Magnitudes."""
_STEP = 0.05
"""Magnitudes between those at which bins are looked at."""
_ENOUGH = 20
"""Stars in a bin."""
LEAST_EXCESS = 5.0
"""Spreads of the bin above its median."""
MOST_CONTAMINATED = 0.25
"""Part of the measurements that may hold a neighbour's light: with the seeing more or less of it."""
MOST_NEAR_EDGE = 0.25
"""Part of the measurements that may lie near the edge: a drift cuts more or less of their sky off."""
EDGE_FWHM = 6.0
"""FWHM from the edge within which the annulus of the local background reaches over it."""
WIDEST = 1.3
"""Of `relative_width`. Two stars alike that are one FWHM apart are one detection as wide as that."""
_CHANCE = 1e-5
"""Probability of a chi-squared as large from a star that is constant."""


@dataclass(frozen=True, kw_only=True)
class StarStatistics:
    """Statistics of one light curve.

    Attributes
    ----------
    n : int
        Measurements.
    error : float
        Median error of one, magnitudes.
    scatter : float
        1.4826 times the median absolute deviation from the median, magnitudes.
    chi2 : float
        Sum of squared deviations from the weighted mean in units of the errors.
    stetson_j : float
        Of pairs of neighbours in time; 0 for noise, NaN below two measurements.
    von_neumann : float
        Mean squared difference of neighbours over the variance: 2 for noise, less for what is smooth.
    amplitude : float
        From the 5th to the 95th percentile, magnitudes.
    """

    n: int
    error: float
    scatter: float
    chi2: float
    stetson_j: float
    von_neumann: float
    amplitude: float

    @property
    def chi2_dof(self) -> float:
        """Chi-squared for each degree of freedom."""
        return self.chi2 / max(self.n - 1, 1)


class Doubt(StrEnum):
    """Why nothing is said of a star whose magnitudes follow more than its own light."""

    NONE = ""
    NEIGHBOUR = "light of a neighbour"
    EDGE = "near the edge"
    WIDE = "wider than a star"


def doubt_of(contaminated: float, near_edge: float, width: float | None) -> Doubt:
    """Return why a star is not judged.

    Parameters
    ----------
    contaminated, near_edge : float
        Parts of its measurements that hold light of a neighbour, and that lie within `EDGE_FWHM` of the edge.
    width : float or None
        Median FWHM, see `relative_width`; None where it is not known. What is wider is several stars
        that were not split, or none: with the seeing more or less of it is in the aperture.
    """
    if contaminated > MOST_CONTAMINATED:
        return Doubt.NEIGHBOUR
    if near_edge > MOST_NEAR_EDGE:
        return Doubt.EDGE
    return Doubt.WIDE if width is not None and width > WIDEST else Doubt.NONE


def relative_width(mag: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return widths in those of the stars as bright, where these are wider than the frames' stars.

    Of a faint star only the pixels above the noise are seen, noise among them: all of them are wide.

    Parameters
    ----------
    mag : ndarray of float64, shape (n,)
    width : ndarray of float64, shape (n,)
        FWHM in that of the frames' stars; NaN where it is not known.
    """
    usual, _ = _neighbours(mag, width, np.isfinite(width))
    return width / np.fmax(usual, 1.0)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How stars compare with those of their brightness; columns of equal length n.

    Attributes
    ----------
    expected : ndarray of float64, shape (n,)
        Median scatter of stars as bright, magnitudes; NaN where there are too few.
    excess : ndarray of float64, shape (n,)
        Scatter above that, in units of the spread that the others have.
    variable : ndarray of bool, shape (n,)
    """

    expected: NDArray[np.float64]
    excess: NDArray[np.float64]
    variable: NDArray[np.bool_]


def star_statistics(mag: NDArray[np.float64], error: NDArray[np.float64]) -> StarStatistics:
    """Return the statistics of a light curve in the order of time.

    Parameters
    ----------
    mag, error : ndarray of float64, shape (n,)
        Finite; the frames' offsets taken out, and their errors in the error. At least one.
    """
    n = len(mag)
    weight = 1.0 / error**2
    mean = float((weight * mag).sum() / weight.sum())
    deviation = (mag - mean) / error
    low, high = np.percentile(mag, [5.0, 95.0])
    return StarStatistics(
        n=n,
        error=float(np.median(error)),
        scatter=float(MAD_TO_SIGMA * np.median(np.abs(mag - np.median(mag)))),
        chi2=float((deviation**2).sum()),
        stetson_j=_stetson_j(deviation),
        von_neumann=_von_neumann(mag),
        amplitude=float(high - low),
    )


def _stetson_j(deviation: NDArray[np.float64]) -> float:
    n = len(deviation)
    if n < 2:
        return float("nan")
    scaled = deviation * np.sqrt(n / (n - 1.0))
    product = scaled[:-1] * scaled[1:]
    return float(np.mean(np.sign(product) * np.sqrt(np.abs(product))))


def _von_neumann(mag: NDArray[np.float64]) -> float:
    variance = float(np.var(mag, ddof=1)) if len(mag) > 1 else 0.0
    return float(np.mean(np.diff(mag) ** 2) / variance) if variance > 0 else float("nan")


def judge(
    stars: list[StarStatistics], mag: NDArray[np.float64], doubts: Sequence[Doubt] | None = None
) -> Judgement:
    """Say which stars vary.

    A star varies if its scatter, or its Stetson J, is far above that of stars as bright, and chi-squared
    agrees, with errors that are as large as those stars scatter. J finds what the scatter does not: a star
    that is constant most of the time.

    Parameters
    ----------
    stars : list of StarStatistics
        Of one field, camera and filter.
    mag : ndarray of float64, shape (n,)
        Brightness of each, any zero point.
    doubts : sequence of Doubt, length n, optional
        A star with any is neither judged nor does it judge others.
    """
    scatter = np.array([one.scatter for one in stars], float)
    stetson = np.array([one.stetson_j for one in stars], float)
    error = np.array([one.error for one in stars], float)
    n = np.array([one.n for one in stars], float)
    judged = n >= FEWEST
    if doubts is not None:
        judged &= np.array([one is Doubt.NONE for one in doubts], bool)
    expected, spread = _neighbours(mag, scatter, judged)
    usual_j, spread_j = _neighbours(mag, stetson, judged)
    excess = (scatter - expected) / spread
    excess_j = (stetson - usual_j) / spread_j
    # Errors that are too small for all stars of a brightness make none of them a variable.
    inflation = np.maximum(1.0, expected / error)
    chance = chi2_distribution.sf(np.array([one.chi2 for one in stars], float) / inflation**2, n - 1)
    with np.errstate(invalid="ignore"):
        stands_out = (excess > LEAST_EXCESS) | (excess_j > LEAST_EXCESS)
    return Judgement(expected=expected, excess=excess, variable=judged & stands_out & (chance < _CHANCE))


def _neighbours(
    mag: NDArray[np.float64], value: NDArray[np.float64], counted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return median and spread of a statistic among the stars within half a bin, or the nearest of them.

    They are computed at steps of magnitude and interpolated: for each of many stars anew it would take the
    square of their number.
    """
    good = np.flatnonzero(counted & np.isfinite(mag) & np.isfinite(value))
    middle, spread = np.full(len(mag), np.nan), np.full(len(mag), np.nan)
    if len(good) < _ENOUGH:
        return middle, spread
    good = good[np.argsort(mag[good], kind="stable")]
    sorted_mag, sorted_value = mag[good], value[good]
    known = np.isfinite(mag)
    step = np.floor(mag[known] / _STEP)
    at = _STEP * np.unique(np.concatenate([step, step + 1.0]))
    here = np.array([_median_and_spread(sorted_mag, sorted_value, one) for one in at])
    middle[known] = np.interp(mag[known], at, here[:, 0])
    spread[known] = np.interp(mag[known], at, here[:, 1])
    return middle, spread


def _median_and_spread(
    sorted_mag: NDArray[np.float64], value: NDArray[np.float64], at: float
) -> tuple[float, float]:
    """Return median and spread of a statistic of stars ordered by brightness, around one magnitude."""
    low, high = np.searchsorted(sorted_mag, [at - _BIN / 2, at + _BIN / 2])
    if high - low < _ENOUGH:
        low = np.clip(np.searchsorted(sorted_mag, at) - _ENOUGH // 2, 0, len(value) - _ENOUGH)
        high = low + _ENOUGH
    median = float(np.median(value[low:high]))
    return median, max(MAD_TO_SIGMA * float(np.median(np.abs(value[low:high] - median))), 1e-6)
