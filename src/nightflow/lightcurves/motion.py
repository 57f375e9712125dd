"""The motion of a body on the plane of the sky over a night: its rate, and how well the line fits.

Over minutes a body moves straight at a constant rate. Over hours the Earth's rotation carries the telescope
along: from a main-belt asteroid's distance of 1 au it shifts the place by up to 8.8", which bends the line by
about 0.5" an hour squared. So a line may be curved where its places say so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from nightflow.sphere import unit_vectors

__all__ = ["PARALLAX", "Line", "Plane", "fit_line"]

_CLIP = 4.0
_CURVED_FROM = 6
"""Places that a curved line needs."""
_BETTER_BY = 20.0
"""Chi-squared by which the curved line must be better: chance gains as much once in 20,000 lines."""
_CROWD = 8
"""Places from which a robust line is a good one."""
_THEIL_AT_MOST = 400
_LEAST_USUAL = 0.3
_MEDIAN_DISTANCE = 1.1774
"""Median length of a two-dimensional Gaussian of unit variance an axis."""
_ENOUGH = 8
"""Degrees of freedom from which the places themselves say how far they scatter."""
PARALLAX = 0.5
"""Arcsec an hour squared by which lines of bodies at 1 au bend."""
_ARCSEC = 3600.0


@dataclass(frozen=True)
class Plane:
    """The tangent plane at a place: x to the east, y to the north, arcsec.

    Attributes
    ----------
    ra, dec : float
        Where it touches, ICRS degrees.
    """

    ra: float
    dec: float

    def project(
        self, ra: NDArray[np.floating] | float, dec: NDArray[np.floating] | float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the places on the plane."""
        turn, north, middle = np.radians(np.asarray(ra) - self.ra), np.radians(dec), np.radians(self.dec)
        depth = np.sin(north) * np.sin(middle) + np.cos(north) * np.cos(middle) * np.cos(turn)
        x = np.cos(north) * np.sin(turn) / depth
        y = (np.sin(north) * np.cos(middle) - np.cos(north) * np.sin(middle) * np.cos(turn)) / depth
        return np.asarray(np.degrees(x) * _ARCSEC), np.asarray(np.degrees(y) * _ARCSEC)

    def lift(
        self, x: NDArray[np.floating] | float, y: NDArray[np.floating] | float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the places on the sky, ICRS degrees."""
        east, north = np.radians(np.asarray(x) / _ARCSEC), np.radians(np.asarray(y) / _ARCSEC)
        middle = np.radians(self.dec)
        depth = np.cos(middle) - north * np.sin(middle)
        ra = (self.ra + np.degrees(np.arctan2(east, depth))) % 360.0
        dec = np.degrees(np.arctan2(np.sin(middle) + north * np.cos(middle), np.hypot(east, depth)))
        return np.asarray(ra), np.asarray(dec)

    def vectors(
        self, x: NDArray[np.floating] | float, y: NDArray[np.floating] | float
    ) -> NDArray[np.float64]:
        """Return the unit vectors towards places on the plane, shape (..., 3)."""
        return unit_vectors(*self.lift(x, y))


@dataclass(frozen=True, kw_only=True)
class Line:
    """Motion at a constant rate, or at one that changes steadily.

    Attributes
    ----------
    t : float
        Hours; the weighted middle of the places.
    x, y : ndarray of float64, shape (2,) or (3,)
        Arcsec on the plane at ``t``, arcsec an hour, and arcsec an hour squared where the line is curved.
    covariance : ndarray of float64, shape (2, 2) or (3, 3)
        Of ``x`` and of ``y``: from the scatter of the places; of fewer than six places not below what their
        errors let expect, for few scatter little by chance.
    rms : float
        Radial distance of the places from the line, arcsec, corrected for the numbers of the fit.
    kept : ndarray of bool, shape (n,)
        Places that are not off by more than four sigma.
    """

    t: float
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    covariance: NDArray[np.float64]
    rms: float
    kept: NDArray[np.bool_]

    @property
    def is_curved(self) -> bool:
        """Whether the rate changes."""
        return len(self.x) > 2

    @property
    def rate_x(self) -> float:
        """Arcsec an hour to the east at ``t``."""
        return float(self.x[1])

    @property
    def rate_y(self) -> float:
        """Arcsec an hour to the north at ``t``."""
        return float(self.y[1])

    @property
    def rate(self) -> float:
        """Arcsec an hour at ``t``."""
        return float(np.hypot(self.rate_x, self.rate_y))

    @property
    def rate_err(self) -> float:
        """Error of `rate_x` and of `rate_y`, hence of `rate`."""
        return float(np.sqrt(self.covariance[1, 1]))

    @property
    def freedom(self) -> int:
        """Degrees of freedom that the fit leaves to the places, of both axes together; at least one."""
        return _freedom(self.kept, len(self.x))

    @property
    def chance(self) -> float:
        """Probability that the places of what stands scatter to a rate as significant as this one.

        Where nothing moves, both components over their common error are of Student's distribution, and half
        of the sum of their squares is of F with 2 and `freedom` degrees of freedom.
        """
        significance = self.rate / max(self.rate_err, 1e-12)
        return float(np.exp(-0.5 * self.freedom * np.log1p(significance**2 / self.freedom)))

    @property
    def position_angle(self) -> float:
        """Of the motion at ``t``, degrees from north through east."""
        return float(np.degrees(np.arctan2(self.rate_x, self.rate_y))) % 360.0

    @property
    def position_angle_err(self) -> float:
        """Degrees; 180 where the rate is as good as none."""
        return min(float(np.degrees(self.rate_err / self.rate)), 180.0) if self.rate > 0 else 180.0

    def at(self, t: NDArray[np.floating] | float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the body is at ``t`` hours."""
        terms = _terms(np.asarray(t, np.float64) - self.t, len(self.x))
        return terms @ self.x, terms @ self.y

    def error_at(self, t: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Return the error of `at` along each axis, arcsec; of a straight line with what it may bend."""
        passed = np.asarray(t, np.float64) - self.t
        terms = _terms(passed, len(self.x))
        error = np.sqrt(np.einsum("...i,ij,...j->...", terms, self.covariance, terms))
        return np.asarray(error if self.is_curved else np.hypot(error, 0.5 * PARALLAX * passed**2))

    def place_at(self, t: float) -> tuple[float, float, float]:
        """Return what `at` and `error_at` say of one moment: x, y and error, in a tenth of their time."""
        passed = t - self.t
        terms = (1.0, passed, 0.5 * passed * passed)[: len(self.x)]
        x = sum(term * one for term, one in zip(terms, self.x.tolist(), strict=True))
        y = sum(term * one for term, one in zip(terms, self.y.tolist(), strict=True))
        rows = self.covariance.tolist()
        variance = sum(terms[i] * terms[j] * rows[i][j] for i in range(len(terms)) for j in range(len(terms)))
        error = math.sqrt(max(variance, 0.0))
        return x, y, error if self.is_curved else math.hypot(error, 0.5 * PARALLAX * passed * passed)


def _freedom(kept: NDArray[np.bool_], number: int) -> int:
    return max(2 * int(kept.sum()) - 2 * number, 1)


def _terms(passed: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    return np.stack([np.ones_like(passed), passed, 0.5 * passed**2][:number], axis=-1)


def fit_line(
    t: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: NDArray[np.float64],
    *,
    clip: bool = True,
) -> Line:
    """Fit a line by weighted least squares, a curved one where the places ask for it.

    Parameters
    ----------
    t : ndarray of float64, shape (n,)
        Hours; at least two different ones.
    x, y : ndarray of float64, shape (n,)
        Arcsec.
    sigma : ndarray of float64, shape (n,)
        Error of a place along each axis, arcsec.
    clip : bool
        Whether places that are off may be left out, and the line fitted again.
    """
    line = _best(t, x, y, sigma, np.ones(len(t), bool))
    if not clip or len(t) < 5:
        return line
    off_x, off_y = _off_robustly(t, x, y) if len(t) >= _CROWD else _offsets(line, t, x, y)
    for again in (False, True):
        kept = _kept(np.hypot(off_x, off_y) / sigma)
        if kept.sum() < 4 or np.ptp(t[kept]) == 0:
            return line
        if again and np.array_equal(kept, line.kept):
            return line  # of the same places the same line
        line = _best(t, x, y, sigma, kept)
        off_x, off_y = _offsets(line, t, x, y)
    return line


def _kept(distance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which places are on a line, from their distances in units of the errors.

    Of many places the distances say themselves how large they usually are, also where errors are too large.
    """
    usual = float(np.median(distance)) / _MEDIAN_DISTANCE
    return distance <= _CLIP * max(usual, _LEAST_USUAL if len(distance) >= _CROWD else 1.0)


def _off_robustly(
    t: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far places are off a line that a third of them cannot pull away (Theil 1950, Sen 1968)."""
    # All pairs are looked at: of many places some do, spread over all.
    some = slice(None, None, -(-len(t) // _THEIL_AT_MOST))
    fits = ((one, theilslopes(one[some], t[some])) for one in (x, y))
    return tuple(one - fit.intercept - fit.slope * t for one, fit in fits)


def _best(
    t: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: NDArray[np.float64],
    kept: NDArray[np.bool_],
) -> Line:
    straight, chi2 = _fitted(t, x, y, sigma, kept, 2)
    if len(np.unique(t[kept])) < _CURVED_FROM:
        return straight
    curved, better = _fitted(t, x, y, sigma, kept, 3)
    return curved if chi2 - better > _BETTER_BY else straight


def _fitted(
    t: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: NDArray[np.float64],
    kept: NDArray[np.bool_],
    number: int,
) -> tuple[Line, float]:
    """Return the line with so many coefficients an axis, and its chi-squared."""
    weight = kept / sigma**2
    middle = float((weight * t).sum() / weight.sum())
    terms = _terms(t - middle, number)
    covariance = np.asarray(np.linalg.inv(terms.T @ (weight[:, None] * terms)), np.float64)
    coefficients = covariance @ (terms.T @ (weight[:, None] * np.column_stack([x, y])))
    left = np.column_stack([x, y]) - terms @ coefficients
    freedom = _freedom(kept, number)
    chi2 = float((weight[:, None] * left**2).sum())
    scatter = chi2 / freedom
    line = Line(
        t=middle,
        x=coefficients[:, 0],
        y=coefficients[:, 1],
        covariance=covariance * (scatter if freedom >= _ENOUGH else max(1.0, scatter)),
        rms=float(np.sqrt(2.0 * (kept[:, None] * left**2).sum() / freedom)),
        kept=kept,
    )
    return line, chi2


def _offsets(
    line: Line, t: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    there_x, there_y = line.at(t)
    return x - there_x, y - there_y
