"""The colours of reference stars, as the errors of the catalogue leave them.

A catalogue's colour is uncertain, and its error is not independent of that of the magnitude when one band is
in both: a star whose R is too faint by chance has too blue a V - R. A plain fit of a colour term takes this
for a dependence on colour: with 10 mmag in each band and colours that spread by 0.1 mag, V - R is fitted for
R with -0.012 too much, and the zero point at colour 0 comes out 5 mmag off on every frame. Regression
calibration (Carroll, Ruppert, Stefanski & Crainiceanu 2006, Measurement Error in Nonlinear Models, ch. 4)
puts the expected true colour, and the expected error of the magnitude, in place of what was read; a
least-squares fit to those is consistent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST_COLORS", "StarColors", "calibrate_colors", "enough_colors", "unknown_color_error"]

FEWEST_COLORS = 3
"""Stars of known colour from which mean and spread follow."""

_LEAST_SHARE = 2 / 3
"""Of the stars. Those without a colour count as of the mean one, which holds only where they are like the
others; catalogues know the colours of their bright stars first, and those are others."""

_UNKNOWN_COLOR = 0.7
"""Root mean square of the colours of field stars, where none is known."""

_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class StarColors:
    """What is to be believed of the colours of n stars.

    Attributes
    ----------
    value : ndarray of float64, shape (n,)
        Expected true colour; the mean of the stars where none is known.
    variance : ndarray of float64, shape (n,)
        Of the true colour about it.
    magnitude_error : ndarray of float64, shape (n,)
        Expected error of the catalogue's magnitude, given the colour that it states.
    explained : ndarray of float64, shape (n,)
        Variance of that error that is thereby known.
    covariance : ndarray of float64, shape (n,)
        Between what is left of that error and of the true colour.
    mean, spread : float
        Of the true colours.
    """

    value: NDArray[np.float64]
    variance: NDArray[np.float64]
    magnitude_error: NDArray[np.float64]
    explained: NDArray[np.float64]
    covariance: NDArray[np.float64]
    mean: float
    spread: float

    @property
    def rms(self) -> float:
        """Root mean square of the colours: how far from colour 0, and from each other, they are."""
        return float(np.hypot(self.mean, self.spread))

    def added_variance(self, term: float, error: float) -> NDArray[np.float64]:
        """Return what colours add to the variance of the catalogue's magnitudes, shape (n,); may be negative.

        Parameters
        ----------
        term, error : float
            Of the colour, and 1 sigma.
        """
        return (term**2 + error**2) * self.variance + 2 * term * self.covariance - self.explained


def calibrate_colors(
    observed: NDArray[np.float64],
    variance: NDArray[np.float64],
    covariance: NDArray[np.float64],
    population: NDArray[np.bool_] | None = None,
) -> StarColors | None:
    """Return the expected true colours, or None where too few are known: see `enough_colors`.

    Parameters
    ----------
    observed : ndarray of float64, shape (n,)
        Of the catalogue; NaN where unknown.
    variance : ndarray of float64, shape (n,)
        Of their errors, magnitudes squared; NaN where the catalogue states none: then nothing is corrected.
    covariance : ndarray of float64, shape (n,)
        Of the error of the magnitude and that of the colour.
    population : ndarray of bool, shape (n,), optional
        Stars whose mean and spread count; all by default.
    """
    known = np.isfinite(observed)
    counted = known if population is None else known & population
    if not enough_colors(int(counted.sum()), len(known) if population is None else int(population.sum())):
        return None
    variance, covariance = np.nan_to_num(variance), np.nan_to_num(covariance)
    mean = float(np.mean(observed[counted]))
    total = float(np.var(observed[counted], ddof=1))
    true = max(total - float(np.mean(variance[counted])), _LEAST_SPREAD**2)
    off = np.where(known, observed - mean, 0.0)
    scale = true + variance
    return StarColors(
        value=mean + off * true / scale,
        variance=np.where(known, true * variance / scale, true),
        magnitude_error=off * covariance / scale,
        explained=np.where(known, covariance**2 / scale, 0.0),
        covariance=np.where(known, -covariance * true / scale, 0.0),
        mean=mean,
        spread=float(np.sqrt(true)),
    )


def enough_colors(known: int, stars: int) -> bool:
    """Return whether a colour term may be fitted: at least 3 colours, and two thirds of the stars have one.

    Parameters
    ----------
    known, stars : int
        Stars of known colour, and all that the fit uses.
    """
    return known >= max(FEWEST_COLORS, _LEAST_SHARE * stars)


def unknown_color_error(prior: float, colors: StarColors | None) -> float:
    """Return the error of a zero point at colour 0 by a colour term that was not taken, magnitudes.

    Parameters
    ----------
    prior : float
        1 sigma of colour terms, about 0, before a star is seen.
    colors : StarColors or None
        Of the reference stars: how far they are from colour 0, and a star from them; None where that is not
        known.
    """
    return prior * (_UNKNOWN_COLOR if colors is None else colors.rms)
