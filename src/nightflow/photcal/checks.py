"""What a zero point's own stars say against it: a slope in magnitude, a slope over the frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.photcal.robust_line import Prior, fit_robust

__all__ = ["position_columns", "slope_warning", "supports_position"]

_FEWEST_FOR_SLOPE = 10
_FEWEST_FOR_POSITION = 30
_SLOPE, _SLOPE_SIGMA = 0.03, 3.0
_CHANCE = 18.42
"""Chi-squared of two degrees of freedom that chance exceeds once in 10,000."""
_LEAST_TERM = 0.005
"""Magnitudes over half the frame; a smaller term is not worth a parameter."""

Array = NDArray[np.float64]


def slope_warning(design: Array, values: Array, errors: Array, prior: Prior, instrumental: Array) -> str:
    """Return a warning where the catalogue's magnitudes do not grow as the instrumental ones do, else "".

    The slope of one against the other is 1 for a linear detector, a right sky and a sound catalogue.

    Parameters
    ----------
    design, values, errors, prior
        Of the fit of the zero point.
    instrumental : ndarray of float64, shape (n,)
        Magnitudes of the same stars.
    """
    if len(values) < _FEWEST_FOR_SLOPE:
        return ""
    offset = instrumental - np.median(instrumental)
    fit = fit_robust(np.column_stack([design, offset]), values, errors, _wider(prior, 1))
    slope, sigma = fit.coefficients[-1], float(np.sqrt(fit.covariance[-1, -1]))
    if abs(slope) <= max(_SLOPE, _SLOPE_SIGMA * sigma):
        return ""
    return (
        f"the catalogue's magnitudes rise by {1 + slope:.3f} +- {sigma:.3f} for each magnitude measured, "
        "not by 1: look for non-linearity, a wrong sky level, or a catalogue of another passband"
    )


def position_columns(x: Array, y: Array, shape: tuple[int, int]) -> Array:
    """Return columns of a plane, shape (n, 2): -1 to 1 from edge to edge of the frame.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n,)
        0-based pixels.
    shape : tuple of int
        Rows, columns.
    """
    ny, nx = shape
    return np.column_stack([2 * x / max(nx - 1, 1) - 1, 2 * y / max(ny - 1, 1) - 1])


def supports_position(design: Array, values: Array, errors: Array, prior: Prior, plane: Array) -> bool:
    """Return whether the stars demand a plane: at least 30 of them, a chance of 1 in 10,000, 5 mmag.

    Parameters
    ----------
    design, values, errors, prior
        Of the fit without it.
    plane : ndarray of float64, shape (n, 2)
        See `position_columns`.
    """
    if len(values) < _FEWEST_FOR_POSITION:
        return False
    fit = fit_robust(np.column_stack([design, plane]), values, errors, _wider(prior, 2))
    if fit.kept.sum() < _FEWEST_FOR_POSITION:
        return False
    term, covariance = fit.coefficients[-2:], fit.covariance[-2:, -2:]
    significance = float(term @ np.linalg.solve(covariance, term))
    return significance > _CHANCE and float(np.abs(term).max()) > _LEAST_TERM


def _wider(prior: Prior, count: int) -> Prior:
    return Prior(
        np.concatenate([prior.mean, np.zeros(count)]), np.concatenate([prior.sigma, np.full(count, np.inf)])
    )
