"""Weighted linear least squares whose errors know that neighbouring points may err together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST_A_TERM", "linear_fit"]

FEWEST_A_TERM = 8
"""Points for each coefficient, below which errors taken from the scatter of the points mean little."""


def linear_fit(
    design: NDArray[np.float64], values: NDArray[np.floating], errors: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coefficients of a linear model and their covariance.

    The covariance is widened where the points scatter more than their errors, and once more where their
    means in time scatter more than independent points would: the factor beta squared of Pont, Zucker & Queloz
    (2006, MNRAS 373, 231) by the method of time averaging (Winn et al. 2008, ApJ 683, 1076). Neither makes
    it narrower.

    Parameters
    ----------
    design : ndarray of float64, shape (n, k)
    values, errors : ndarray of float, shape (n,)
        In the order of time; the errors are 1 sigma.

    Returns
    -------
    coefficients : ndarray of float64, shape (k,)
    covariance : ndarray of float64, shape (k, k)
    """
    weighted = design / errors[:, None]
    inverse = np.linalg.pinv(weighted.T @ weighted, hermitian=True)
    coefficients = inverse @ (weighted.T @ (values / errors))
    residual = (values - design @ coefficients) / errors
    freedom = max(len(values) - design.shape[1], 1)
    reduced = float(residual @ residual) / freedom
    return coefficients, inverse * max(1.0, reduced) * _red(residual, reduced, design.shape[1])


def _red(residual: NDArray[np.float64], variance: float, coefficients: int) -> float:
    """Return by what factor means of neighbours vary more than independent points let expect, at least 1."""
    n = len(residual)
    bins = int(np.sqrt(n))
    if bins <= coefficients or variance <= 0:
        return 1.0
    parts = np.array_split(residual, bins)
    # The mean of m independent points has the variance of one divided by m.
    excess = sum(len(part) * float(np.mean(part)) ** 2 for part in parts) / (bins - coefficients)
    return max(1.0, excess / variance)
