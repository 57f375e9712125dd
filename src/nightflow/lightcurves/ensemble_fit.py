"""The weighted fit behind an ensemble: the magnitude of star s on frame f is a[s] + e[f].

Inhomogeneous ensemble photometry (Honeycutt 1992, PASP 104, 435) needs no star to be on every frame. Each
star weighs by its photon noise and by the scatter it shows on top of it, found without itself in the ensemble
(Broeg, Fernandez & Neuhaeuser 2005, AN 326, 134).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.robust import MAD_TO_SIGMA

__all__ = ["NOISE_FLOOR", "EnsembleFit", "fit_ensemble"]

_ITERATIONS = 12
_FIRST_GUESS = 0.02
"""Magnitudes of scatter that a star is given before its own is known."""
NOISE_FLOOR = 0.001
"""Magnitudes; scintillation and flat field keep most stars from being better than this. Stars are taken to be
no better until they have shown their own scatter, and none is called unstable for less."""
_LEAST = 1e-6
"""Magnitudes; keeps a weight finite."""
_DOUBTFUL, _OUTLIER = 2.0, 4.0
"""Robust standard deviations from which a single measurement counts less, and not at all."""
_PRIOR_FRAMES = 5.0
"""How many frames the peers' excess scatter is worth against a star's own."""


@dataclass(frozen=True, kw_only=True)
class EnsembleFit:
    """Zero point of each frame and the behaviour of each star.

    Attributes
    ----------
    frame : ndarray of float64, shape (n_frames,)
        e[f], magnitudes; NaN on a frame without stars.
    variance : ndarray of float64, shape (n_frames,)
        Of ``frame``, with the error of the stars' means where other stars than on average are on the frame; a
        constant that all frames share is no error.
    scatter : ndarray of float64, shape (n_stars,)
        Robust scatter of each star against the ensemble of the others, magnitudes.
    expected : ndarray of float64, shape (n_stars,)
        What photon noise and the error of that ensemble let expect.
    weight : ndarray of float64, shape (n_frames, n_stars)
        Inverse variance with which each measurement counted; 0 for outliers and gaps.
    residual, residual_err : ndarray of float64, shape (n_frames, n_stars)
        Of each measurement against the ensemble of the others, magnitudes; NaN where there is none.
    """

    frame: NDArray[np.float64]
    variance: NDArray[np.float64]
    scatter: NDArray[np.float64]
    expected: NDArray[np.float64]
    weight: NDArray[np.float64]
    residual: NDArray[np.float64]
    residual_err: NDArray[np.float64]


def fit_ensemble(
    mag: NDArray[np.float64], noise: NDArray[np.float64], good: NDArray[np.bool_]
) -> EnsembleFit:
    """Fit a[s] + e[f], weighing each star by what it scatters.

    Parameters
    ----------
    mag, noise : ndarray of float64, shape (n_frames, n_stars)
        Instrumental magnitudes and their photon errors.
    good : ndarray of bool, shape (n_frames, n_stars)
        Which of them count; those must be finite.
    """
    values = np.where(good, mag, 0.0)
    variance = np.where(good, noise, 1.0) ** 2
    # Nobody is trusted more than the others before it has shown its scatter.
    intrinsic = np.full(mag.shape[1], _FIRST_GUESS**2)
    trust = good.astype(float)
    for iteration in range(_ITERATIONS):
        judged = iteration >= _ITERATIONS // 2
        known = variance + intrinsic + (_LEAST if judged else NOISE_FLOOR) ** 2
        weight = trust / known
        star, frame = _solve(values, weight)
        residual, others = _without_itself(values - star - frame[:, None], weight)
        scatter = _spread(np.where(good, residual, np.nan))
        expected = np.sqrt(_median(np.where(good, variance + others, np.nan)))
        intrinsic = _shrunk(np.maximum(scatter**2 - expected**2, 0.0), good.sum(axis=0))
        trust = good * _trust(np.abs(residual) / np.sqrt(known + others), cut=judged)
    seen = weight.sum(axis=1) > 0
    return EnsembleFit(
        frame=np.where(seen, frame, np.nan),
        variance=np.where(seen, _variance(weight), np.nan),
        scatter=scatter,
        expected=expected,
        weight=weight,
        residual=np.where(good, residual, np.nan),
        residual_err=np.sqrt(np.where(good, variance + others + intrinsic, np.nan)),
    )


def _trust(deviation: NDArray[np.float64], *, cut: bool) -> NDArray[np.float64]:
    """Return how much each measurement counts, 0 to 1.

    Outliers first lose weight (Huber 1964), for as long as they may still pull the frame's zero point so far
    that the good ones look like the outliers; then they are cut. A star alone on its frame deviates from
    nothing.
    """
    known = np.where(np.isfinite(deviation), deviation, 0.0)
    if cut:
        return (known <= _OUTLIER).astype(float)
    return _DOUBTFUL / np.maximum(known, _DOUBTFUL)


def _solve(
    mag: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve the weighted least squares for a[s] and e[f]; the frames are eliminated first, so it is small."""
    share = _share(weight)
    mean = (share * mag).sum(axis=1)
    right = (weight * (mag - mean[:, None])).sum(axis=0)
    star = np.linalg.solve(_normal(weight, share), right)
    return star, mean - share @ star


def _share(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of each star in its frame, of shape (n_frames, n_stars)."""
    total = weight.sum(axis=1)
    return np.asarray(weight / np.where(total > 0, total, 1.0)[:, None])


def _normal(weight: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix of the normal equations for a[s], the frames eliminated."""
    normal = np.diag(weight.sum(axis=0)) - weight.T @ share
    # One constant may go from all a to all e: it is fixed by a mean of 0. The small term keeps a star that
    # has lost all its points from making the matrix singular.
    size = float(np.trace(normal)) or 1.0
    return np.asarray(normal + size / max(len(normal), 1) ** 2 + 1e-12 * size * np.eye(len(normal)))


def _variance(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of e[f], shape (n_frames,), about the mean of its frames.

    To the error of the measurements on the frame comes that of the a[s] in it, as far as its stars are not
    those of the other frames: by cov(a), the inverse of the normal matrix, and the shares less their means
    over the frames. It does not depend on where the free constant is put.
    """
    total = weight.sum(axis=1)
    seen = total > 0
    share = _share(weight)
    other = np.where(seen[:, None], share - share.sum(axis=0) / max(np.count_nonzero(seen), 1), 0.0)
    means = np.einsum("fs,sf->f", other, np.linalg.solve(_normal(weight, share), other.T))
    return np.asarray(1.0 / np.where(seen, total, 1.0) + np.maximum(means, 0.0))


def _without_itself(
    residual: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the residuals against the ensemble of the others, and the variance of that ensemble.

    Where a star is alone on a frame, nothing can be said of it there.
    """
    others = weight.sum(axis=1, keepdims=True) - weight
    alone = others <= 0
    safe = np.where(alone, 1.0, others)
    return np.where(alone, np.nan, residual * (1.0 + weight / safe)), np.where(alone, np.nan, 1.0 / safe)


def _shrunk(excess: NDArray[np.float64], frames: NDArray[np.integer]) -> NDArray[np.float64]:
    """Draw each star's excess variance towards its peers', the more the fewer frames it has.

    A star that looks perfect on five frames by chance must not become the whole ensemble.
    """
    known = np.isfinite(excess)
    typical = float(np.median(excess[known])) if known.any() else 0.0
    own = np.where(known, excess, typical)
    return (frames * own + _PRIOR_FRAMES * typical) / (frames + _PRIOR_FRAMES)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each column, NaN where it is empty."""
    out = np.full(values.shape[1], np.nan)
    filled = np.isfinite(values).any(axis=0)
    out[filled] = np.nanmedian(values[:, filled], axis=0)
    return out


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the robust standard deviation of each column (median absolute deviation)."""
    return MAD_TO_SIGMA * _median(np.abs(values - _median(values)))
