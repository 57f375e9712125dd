"""The mixed model of a night: Henderson's equations, and the variances that they need.

See `nightflow.photcal.night` for what it is a model of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.photcal.bands import ASSUMED_ERROR, Reference
from nightflow.photcal.colors import StarColors
from nightflow.robust import robust_sigma

__all__ = ["Array", "NightModel", "NightStars", "Solved", "solve_with_variances"]

Array = NDArray[np.float64]

_CLIP = 4.0
_ROUNDS = 8
_SMALLEST = 1e-8
"""Magnitudes squared: no star is without any error."""


@dataclass(frozen=True, kw_only=True)
class NightStars:
    """What was measured of the reference stars: n rows, one a star and frame.

    Attributes
    ----------
    frame, star : ndarray of int, shape (n,)
        Rows of the frames and of the reference stars.
    mag, error : ndarray of float64, shape (n,)
        Instrumental magnitude, -2.5 log10 of electrons per second, and its error.
    """

    frame: NDArray[np.intp]
    star: NDArray[np.intp]
    mag: Array
    error: Array

    def take(self, rows: NDArray[np.bool_]) -> NightStars:
        """Return the rows selected by a mask."""
        return NightStars(
            frame=self.frame[rows], star=self.star[rows], mag=self.mag[rows], error=self.error[rows]
        )


@dataclass(frozen=True)
class NightModel:
    """The mixed model: k fixed effects (frames first, then colour columns), one random effect a star.

    Attributes
    ----------
    rows : NightStars
        The n measurements.
    values : ndarray of float64, shape (n,)
        Catalogue minus instrumental magnitude.
    columns : ndarray of float64, shape (n, k - n_frames)
    n_frames : int
    prior : ndarray of float64, shape (k,)
        Inverse variances of the fixed effects about 0; 0 where nothing is known beforehand.
    """

    rows: NightStars
    values: Array
    columns: Array
    n_frames: int
    prior: Array

    def solve(self, noise: float, star_variance: Array) -> Solved:
        """Solve Henderson's equations by eliminating the stars, whose block is diagonal.

        Parameters
        ----------
        noise : float
            Added to the errors of the measurements, magnitudes.
        star_variance : ndarray of float64, shape (n_stars,)
            Of the random effects.
        """
        rows, n_stars = self.rows, len(star_variance)
        weight = 1 / (rows.error**2 + noise**2)
        fixed = self.n_frames + self.columns.shape[1]
        between = np.zeros((fixed, n_stars))
        np.add.at(between, (rows.frame, rows.star), weight)
        own = np.bincount(rows.star, weight, n_stars)
        right_star = np.bincount(rows.star, weight * self.values, n_stars)
        right = np.zeros(fixed)
        right[: self.n_frames] = np.bincount(rows.frame, weight * self.values, self.n_frames)
        normal = np.zeros((fixed, fixed))
        frames = np.arange(self.n_frames)
        normal[frames, frames] = np.bincount(rows.frame, weight, self.n_frames)
        for number, column in enumerate(self.columns.T):
            k = self.n_frames + number
            between[k] = np.bincount(rows.star, weight * column, n_stars)
            right[k] = float(np.sum(weight * column * self.values))
            normal[k, : self.n_frames] = np.bincount(rows.frame, weight * column, self.n_frames)
            normal[: self.n_frames, k] = normal[k, : self.n_frames]
            for other, second in enumerate(self.columns.T):
                normal[k, self.n_frames + other] = float(np.sum(weight * column * second))
        normal[np.diag_indices(fixed)] += self.prior
        inverse_star = 1 / (own + 1 / star_variance)
        covariance = np.linalg.pinv(normal - (between * inverse_star) @ between.T, hermitian=True)
        effects = covariance @ (right - between @ (inverse_star * right_star))
        stars = inverse_star * (right_star - between.T @ effects)
        model = effects[rows.frame] + self.columns @ effects[self.n_frames :]
        return Solved(
            effects, np.asarray(covariance, np.float64), stars, self.values - model - stars[rows.star], weight
        )


@dataclass(frozen=True)
class Solved:
    """The effects of a model, and what they leave.

    Attributes
    ----------
    effects : ndarray of float64, shape (k,)
        Fixed: zero points of the frames, then coefficients of the colour columns.
    covariance : ndarray of float64, shape (k, k)
    stars : ndarray of float64, shape (n_stars,)
        Random: what the catalogue's magnitude of each star is off.
    residual, weight : ndarray of float64, shape (n,)
        Of the measurements.
    """

    effects: Array
    covariance: Array
    stars: Array
    residual: Array
    weight: Array


def solve_with_variances(
    model: NightModel, reference: Reference, colors: StarColors | None, color_prior: float
) -> tuple[Solved, float, float, NightModel]:
    """Find what must be added to both errors, clipping single measurements on the way.

    Each variance is brought to where its sum of squares is what it should be: within stars, and between them.

    Parameters
    ----------
    model : NightModel
    reference : Reference
        Of the stars.
    colors : StarColors or None
        None without a colour term.
    color_prior : float
        1 sigma of the colour term before a star is seen.

    Returns
    -------
    solved : Solved
    noise, extra : float
        Added to the errors of the measurements, and to those of the catalogue; magnitudes.
    model : NightModel
        Without what was clipped.
    """
    noise, extra = 0.0, 0.0
    stated = _star_variance(reference, colors, 0.0, color_prior)
    for _ in range(_ROUNDS):
        solved = model.solve(noise, stated + extra**2 + _SMALLEST)
        sigma = np.maximum(1.0, robust_sigma(solved.residual * np.sqrt(solved.weight)))
        kept = np.abs(solved.residual) * np.sqrt(solved.weight) < _CLIP * sigma
        model = NightModel(
            model.rows.take(kept), model.values[kept], model.columns[kept], model.n_frames, model.prior
        )
        solved = model.solve(noise, stated + extra**2 + _SMALLEST)
        if colors is not None:
            term, error = (
                solved.effects[model.n_frames],
                np.sqrt(solved.covariance[model.n_frames, model.n_frames]),
            )
            stated = _star_variance(reference, colors, float(term), float(error))
        noise = _added(model, solved, noise)
        extra = _added_to_stars(model, solved, stated, extra)
    few = len(np.unique(model.rows.star)) - 1 - model.columns.shape[1]
    # With few stars their scatter is itself uncertain: Student's variance, finite for one and two.
    widened = (stated + extra**2) * (1 + 2 / max(few, 1))
    return model.solve(noise, widened + _SMALLEST), noise, extra, model


def _star_variance(reference: Reference, colors: StarColors | None, term: float, error: float) -> Array:
    """Return the variance of the random effects that the catalogue's errors make."""
    if colors is None:
        return reference.error**2
    return np.maximum(reference.error**2 + colors.added_variance(term, error), _SMALLEST)


def _added(model: NightModel, solved: Solved, noise: float) -> float:
    """Return the noise that brings the sum of squares within stars to its degrees of freedom."""
    rows = model.rows
    freedom = len(rows.mag) - len(np.unique(rows.frame)) - len(np.unique(rows.star)) - model.columns.shape[1]
    if freedom < 1:
        return noise
    excess = float(np.sum(solved.residual**2)) / freedom - float(np.mean(rows.error**2))
    return float(np.sqrt(max(excess, 0.0)))


def _added_to_stars(model: NightModel, solved: Solved, stated: Array, extra: float) -> float:
    """Return what the stars scatter beyond the catalogue's errors (one step of expectation-maximisation)."""
    seen = np.unique(model.rows.star)
    freedom = len(seen) - 1 - model.columns.shape[1]
    if freedom < 1:
        return max(extra, ASSUMED_ERROR)
    own = np.bincount(model.rows.star, solved.weight, len(stated))[seen]
    # The offset itself, not drawn towards zero: as if nothing were known of it beforehand.
    raw = solved.stars[seen] * (own + 1 / (stated[seen] + extra**2 + _SMALLEST)) / own
    excess = float(np.sum(raw**2)) / freedom - float(np.mean(stated[seen] + 1 / own))
    return float(np.sqrt(max(excess, 0.0)))
