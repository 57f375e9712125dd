"""The width of a star on this frame, from the stacked profile of many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from nightflow.sources.stamps import ring_offsets, stamp_indices

__all__ = ["SEEING_BETA", "StellarProfile", "stacked_profile"]

_MOST_STARS = 80
_BIN = 0.5
"""Pixels."""
SEEING_BETA = 3.0
"""Exponent where there are too few stars to fit one."""
_REACH = 2.5
"""Radius of the profile in units of the first guess of the FWHM."""


@dataclass(frozen=True)
class StellarProfile:
    """A Moffat profile.

    Attributes
    ----------
    fwhm : float
        Pixels, the pixel's own width included; NaN without a star.
    beta : float
        Exponent; 2.5 to 5 for seeing, large for a Gaussian.
    """

    fwhm: float
    beta: float = SEEING_BETA

    def enclosed(self, radius: float) -> float:
        """Return the share of the light inside a radius in pixels."""
        if not np.isfinite(self.fwhm):
            return 1.0
        return float(1 - (1 + radius**2 / self._alpha2) ** (1 - self.beta))

    def surface_brightness(self, radius2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of the light in a pixel at each squared distance in pixels."""
        height = (self.beta - 1) / (np.pi * self._alpha2)
        return np.asarray(height * (1 + radius2 / self._alpha2) ** -self.beta)

    @property
    def _alpha2(self) -> float:
        """Squared core radius, pixels."""
        return (self.fwhm / 2) ** 2 / (2 ** (1 / self.beta) - 1)


def stacked_profile(
    clean: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    peak: NDArray[np.float64],
    first_guess: float,
    beta: float | None = None,
) -> StellarProfile:
    """Fit a Moffat profile through the pixels of all stars, each scaled to its core.

    Half the light of a real star lies well outside half its width, so that a half-light radius says too much;
    the profile itself is fitted (Moffat 1969), on medians in rings so that neighbours do not count.

    Parameters
    ----------
    clean : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons.
    x, y : ndarray of float64, shape (n,)
        Centroids of unflagged, unblended stars, 0-based pixels.
    peak : ndarray of float64, shape (n,)
        Highest pixel of each, electrons; the brightest 80 are used.
    first_guess : float
        Pixels.
    beta : float, optional
        Exponent to hold: the wings of a few faint stars are noise. It is fitted otherwise.

    Returns
    -------
    StellarProfile
        Of width ``first_guess`` where no profile can be fitted.
    """
    bright = np.argsort(-peak, kind="stable")[:_MOST_STARS]
    if len(bright) == 0 or not np.isfinite(first_guess):
        return StellarProfile(first_guess)
    radius, value = _pixels(clean, x[bright], y[bright], peak[bright], max(_REACH * first_guess, 4.0))
    rings, profile = _ring_medians(radius, value)
    if len(rings) < 5:
        return StellarProfile(first_guess)
    return _fit_moffat(rings, profile, first_guess, beta)


def _pixels(
    clean: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    peak: NDArray[np.float64],
    reach: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distance from the centroid and scaled value of every pixel around every star."""
    rows, columns, inside = stamp_indices(x, y, ring_offsets(0, reach), (clean.shape[0], clean.shape[1]))
    radius = np.hypot(columns - x[:, None], rows - y[:, None])
    # A star between four pixels has a low peak: its own brightness is the mean of its core instead.
    core = np.where(radius < 1.5, clean[rows, columns], np.nan)
    level = np.nanmean(np.where(np.isnan(core).all(axis=1, keepdims=True), peak[:, None], core), axis=1)
    value = clean[rows, columns] / np.maximum(level, 1e-6)[:, None]
    return radius[inside], value[inside]


def _ring_medians(
    radius: NDArray[np.float64], value: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ring = (radius / _BIN).astype(np.intp)
    known = [number for number in range(int(ring.max()) + 1) if np.count_nonzero(ring == number) >= 3]
    centers = np.array([radius[ring == number].mean() for number in known])
    return centers, np.array([np.median(value[ring == number]) for number in known])


def _fit_moffat(
    radius: NDArray[np.float64], profile: NDArray[np.float64], first_guess: float, fixed_beta: float | None
) -> StellarProfile:
    def model(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        height, fwhm, floor = parameters[:3]
        beta = parameters[3] if fixed_beta is None else fixed_beta
        alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / beta) - 1)
        return np.asarray(height * (1 + radius**2 / alpha2) ** -beta + floor)

    free = 4 if fixed_beta is None else 3
    fit = least_squares(
        lambda parameters: model(parameters) - profile,
        [max(float(profile[0]), 0.1), first_guess, 0.0, SEEING_BETA][:free],
        bounds=([0.01, 0.5, -0.2, 1.1][:free], [10.0, 4 * first_guess, 0.2, 20.0][:free]),
        loss="soft_l1",
        f_scale=0.05,
    )
    if not fit.success:
        return StellarProfile(first_guess)
    return StellarProfile(float(fit.x[1]), float(fit.x[3]) if fixed_beta is None else fixed_beta)
