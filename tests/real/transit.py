"""The shape of a transit in a light curve, fitted without help from nightflow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares


@dataclass(frozen=True)
class Trapezoid:
    """A transit with straight flanks: times in days, depth in magnitudes; its error from the residuals."""

    middle: float
    depth: float
    half_duration: float
    flank: float
    level: float
    depth_err: float = 0.0

    def __call__(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = (self.half_duration + self.flank / 2 - np.abs(time - self.middle)) / self.flank
        return self.level + self.depth * np.clip(inside, 0, 1)


def fit_trapezoid(time: NDArray[np.float64], mag: NDArray[np.float64]) -> Trapezoid:
    """Fit robustly, from several first guesses; ``time`` is relative to the expected middle."""
    fits = [
        least_squares(
            lambda p: Trapezoid(*p)(time) - mag,
            [middle, 0.02, half, 0.02, 0.0],
            bounds=([-0.04, 0.0, 0.02, 0.005, -0.05], [0.04, 0.1, 0.09, 0.05, 0.05]),
            loss="soft_l1",
            f_scale=0.008,
        )
        for middle in (-0.01, 0.0, 0.01)
        for half in (0.045, 0.055, 0.065)
    ]
    best = min(fits, key=lambda fit: fit.cost)
    residuals = Trapezoid(*best.x)(time) - mag
    variance = np.sum(residuals**2) / (len(time) - len(best.x))
    covariance = variance * np.linalg.pinv(best.jac.T @ best.jac)
    return Trapezoid(*best.x, depth_err=float(np.sqrt(covariance[1, 1])))
