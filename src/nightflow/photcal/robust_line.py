"""A weighted line through points of which some are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.robust import robust_sigma

__all__ = ["Prior", "RobustFit", "fit_robust"]

_CLIP = 3.0
_ROUNDS = 10


@dataclass(frozen=True)
class Prior:
    """What is known of the coefficients before the fit: Gaussians that do not depend on each other.

    Attributes
    ----------
    mean, sigma : ndarray of float64, shape (k,)
        An infinite sigma: nothing is known.
    """

    mean: NDArray[np.float64]
    sigma: NDArray[np.float64]

    @classmethod
    def none(cls, count: int) -> Prior:
        """Return the prior that knows nothing of ``count`` coefficients."""
        return cls(np.zeros(count), np.full(count, np.inf))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Diagonal matrix of 1 / sigma^2, shape (k, k)."""
        return np.diag(self.sigma**-2.0)


@dataclass(frozen=True)
class RobustFit:
    """Linear model fitted to the points that were kept.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (k,)
    covariance : ndarray of float64, shape (k, k)
        With the intrinsic scatter in the weights, and what the prior leaves open.
    kept : ndarray of bool, shape (n,)
    residuals : ndarray of float64, shape (n,)
        Of every point, kept or not.
    leverage : ndarray of float64, shape (n,)
        Diagonal of the hat matrix; 0 where not kept.
    scatter : float
        Robust sigma of the kept residuals.
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    kept: NDArray[np.bool_]
    residuals: NDArray[np.float64]
    leverage: NDArray[np.float64]
    scatter: float

    def without_each(self) -> NDArray[np.float64]:
        """Return what each kept point's residual would be in a fit without that point; 0 for others.

        NaN for a point of leverage 1: it alone determines a coefficient, and without it there is no fit.

        For a linear fit this is residual / (1 - leverage) exactly (Allen 1974, the PRESS residual), with the
        weights as they are; a prior is to it a point like others.
        """
        out = np.zeros_like(self.residuals)
        free = self.kept & (self.leverage < 1 - 1e-9)
        out[free] = self.residuals[free] / (1 - self.leverage[free])
        out[self.kept & ~free] = np.nan
        return out


def fit_robust(
    design: NDArray[np.float64],
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    prior: Prior | None = None,
) -> RobustFit:
    """Fit ``values = design @ coefficients`` with clipping by the MAD and an intrinsic scatter.

    The scatter that the errors do not explain is found from the kept residuals and added to every weight, so
    that the covariance holds the star-to-star scatter, and for few points is widened by Student's factor
    through the degrees of freedom. There is nothing random in it.

    Parameters
    ----------
    design : ndarray of float64, shape (n, k)
        The first column is the constant.
    values, errors : ndarray of float64, shape (n,)
        Errors are 1 sigma and positive.
    prior : Prior, optional
        Of the coefficients.
    """
    prior = Prior.none(design.shape[1]) if prior is None else prior
    free = int(np.count_nonzero(~np.isfinite(prior.sigma)))
    kept = np.ones(len(values), bool)
    intrinsic = 0.0
    # The first guess is a median, which no minority of wrong points can move.
    coefficients = prior.mean.copy()
    coefficients[0] = 0.0
    coefficients[0] = np.median(values - design @ coefficients)
    residuals = values - design @ coefficients
    for turn in range(_ROUNDS):
        sigma = max(robust_sigma(residuals[kept]), float(np.median(errors[kept])), 1e-4)
        limit = _CLIP * np.sqrt(np.maximum(sigma**2, errors**2))
        survivors = np.abs(residuals) <= limit
        if survivors.sum() < max(free + 1, 3):
            break
        count = _parameters(design[survivors], errors[survivors] ** 2 + intrinsic**2, prior)
        intrinsic = _intrinsic_scatter(residuals[survivors], errors[survivors], count)
        weights = 1 / (errors**2 + intrinsic**2)
        coefficients = _solve(design[survivors], values[survivors], weights[survivors], prior)
        residuals = values - design @ coefficients
        # The first turn's scatter is about a median, with the slope still in it.
        stable = turn > 0 and bool((survivors == kept).all())
        kept = survivors
        if stable:
            break
    return _finished(design, values, errors, coefficients, kept, intrinsic, prior)


def _finished(
    design: NDArray[np.float64],
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    kept: NDArray[np.bool_],
    intrinsic: float,
    prior: Prior,
) -> RobustFit:
    residuals = values - design @ coefficients
    weights = np.where(kept, 1 / (errors**2 + intrinsic**2), 0.0)
    normal = (design * weights[:, None]).T @ design
    inverse = np.linalg.pinv(normal + prior.precision)
    leverage = weights * np.einsum("ij,jk,ik->i", design, inverse, design)
    freedom = max(float(kept.sum() - leverage.sum()), 1.0)
    chi2 = float(np.sum(weights * residuals**2))
    # With few degrees of freedom the scatter itself is uncertain: the variance of Student's t, nu / (nu - 2),
    # in a form that stays finite for one and two.
    widened = max(1.0, chi2 / freedom) * (1 + 2 / freedom)
    covariance = np.linalg.pinv(normal / widened + prior.precision)
    return RobustFit(
        coefficients,
        np.asarray(covariance, np.float64),
        kept,
        residuals,
        leverage,
        robust_sigma(residuals[kept]),
    )


def _solve(
    design: NDArray[np.float64], values: NDArray[np.float64], weights: NDArray[np.float64], prior: Prior
) -> NDArray[np.float64]:
    """Least squares with a row for each coefficient of which something is known."""
    known = np.isfinite(prior.sigma)
    root, prior_root = np.sqrt(weights), 1 / prior.sigma[known]
    rows = np.vstack([design * root[:, None], np.eye(len(known))[known] * prior_root[:, None]])
    solution, *_ = np.linalg.lstsq(
        rows, np.concatenate([values * root, prior.mean[known] * prior_root]), rcond=None
    )
    return np.asarray(solution)


def _parameters(design: NDArray[np.float64], variance: NDArray[np.float64], prior: Prior) -> float:
    """Return how many coefficients the points determine: the trace of the hat matrix."""
    normal = (design / variance[:, None]).T @ design
    return float(np.trace(np.linalg.pinv(normal + prior.precision) @ normal))


def _intrinsic_scatter(residuals: NDArray[np.float64], errors: NDArray[np.float64], count: float) -> float:
    """Sigma that must be added in quadrature to bring chi2 to the degrees of freedom; 0 if none."""
    freedom = max(len(residuals) - count, 1.0)

    def chi2(sigma: float) -> float:
        return float(np.sum(residuals**2 / (errors**2 + sigma**2))) / freedom

    if chi2(0.0) <= 1:
        return 0.0
    low, high = 0.0, float(np.sqrt(np.sum(residuals**2) / freedom)) + 1e-9
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if chi2(middle) > 1 else (low, middle)
    return high
