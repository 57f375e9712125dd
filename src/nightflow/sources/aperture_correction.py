"""How much of a star's light falls outside the aperture, and how that changes over the field.

What one factor for the whole frame must be is measured on bright single stars, out to where their light ends.
How it changes over the field (stars grow towards the corners of most telescopes, which one factor would take
for a loss of light of some per cent) is told by their cores, where they are bright against the sky: the
growth from a small aperture to the one that is used is a polynomial of the place, and by the frame's profile
it says how wide stars are there and what is outside. Growth curves: Stetson 1990, PASP 102, 932.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import sep
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.photcal.robust_line import RobustFit, fit_robust
from nightflow.robust import robust_sigma
from nightflow.sources.local_background import local_background
from nightflow.sources.stellar_profile import StellarProfile

__all__ = ["ApertureCorrection", "FieldTerm", "aperture_correction"]

FEWEST = 5
"""Stars from which one takes part of its own."""
_STARS_A_TERM = 6
"""Stars for each coefficient of the polynomial."""
_ORDERS = (1, 2)
_SPAN = 0.6
"""Of the frame's sides, over which the stars must be spread to tell how the light changes."""
_SKY = (4.0, 6.0)
"""Radii of the sky's annulus, in FWHM: nearer, the wings of the star itself would be taken for sky."""
_CLIP = 3.0
_PRECISE = 0.03
"""Error to which faint stars must give the factor; the assumed shape of a profile is no worse than that."""
_CORE = 0.75
"""Radius of the small aperture in FWHM."""
_WIDTHS = np.geomspace(0.4, 2.5, 91)
"""Of a star in units of the frame's FWHM."""


@dataclass(frozen=True)
class FieldTerm:
    """How wide stars are over the field, by their growth, and what light that leaves outside the aperture.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (k,)
        Of the growth, flux in the aperture over that in its core: a polynomial of the place.
    covariance : ndarray of float64, shape (k, k)
    order : int
    mean : ndarray of float64, shape (k,)
        Of the monomials over the stars that were used: there the factor is the frame's.
    lower, upper : tuple of float
        Corners of the rectangle of those stars, (x, y) in pixels; outside of it the edge's value holds.
    shape : tuple of int
        Of the frame, (ny, nx).
    growths, factors : ndarray of float64, shape (91,)
        Growth of stars of all widths, ascending -> factor relative to the frame's.
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    order: int
    mean: NDArray[np.float64]
    lower: tuple[float, float]
    upper: tuple[float, float]
    shape: tuple[int, ...]
    growths: NDArray[np.float64]
    factors: NDArray[np.float64]

    def at(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the factor at each place relative to the frame's, and the relative error of that."""
        x = np.clip(x, self.lower[0], self.upper[0])
        y = np.clip(y, self.lower[1], self.upper[1])
        terms = _monomials(x, y, self.shape, self.order)
        from_mean = terms - self.mean
        error = np.sqrt(np.einsum("ij,jk,ik->i", from_mean, self.covariance, from_mean))
        growth = terms @ self.coefficients
        factor = np.interp(growth, self.growths, self.factors)
        slope = np.interp(growth, self.growths, np.gradient(self.factors, self.growths))
        return factor, np.abs(slope) * error / factor


@dataclass(frozen=True)
class ApertureCorrection:
    """By what a flux in the aperture is multiplied to be that of the whole star.

    The error of the frame's factor is common to all its sources: the zero point takes it up, so that neither
    magnitudes nor the zero point's own error hold it. Only the fluxes in electrons are uncertain by it, all
    in one direction, and their errors, which are those between sources, leave it out. What differs from place
    to place is not common, and its error is in that of each flux.

    Attributes
    ----------
    factor : float
        Total flux over flux in the aperture, mean of the field; at least 1.
    error : float
        1 sigma of ``factor``; NaN where it comes from the profile and not from stars.
    n_stars : int
        Stars measured; 0 where too few are alone, and the fitted profile had to do.
    warning : str
        What a reader should know; "" where bright stars gave the factor.
    field : FieldTerm or None
        How it changes over the field; None where one factor does.
    """

    factor: float
    error: float
    n_stars: int
    warning: str = ""
    field: FieldTerm | None = field(default=None, repr=False)

    def at(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the factor at each place, shape (n,), and its relative error that is not the field's."""
        if self.field is None:
            return np.full(len(x), self.factor), np.zeros(len(x))
        relative, error = self.field.at(x, y)
        return np.maximum(self.factor * relative, 1.0), error


def aperture_correction(
    clean: NDArray[np.float32],
    sky_mask: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    stars: NDArray[np.bool_],
    profile: StellarProfile,
    radius: float,
    total_fwhm: float = 4.0,
    faint: NDArray[np.bool_] | None = None,
    sky_rms: float = 0.0,
) -> ApertureCorrection:
    """Measure the light between the aperture and the whole star on stars without neighbours.

    Bright stars give a factor each, and the median is taken. Of 18 and more that are spread over the frame
    the growth is fitted by a polynomial of the place, of the order that the Bayesian information criterion
    asks for. Where fewer than 5 are bright, all stars together give one factor, as the ratio of their summed
    light; where that is too noisy, the profile's is taken.

    Parameters
    ----------
    clean : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons.
    sky_mask : ndarray of bool, shape (ny, nx)
        True where a pixel is no sky.
    x, y : ndarray of float64, shape (n,)
        Of every source, 0-based pixels.
    stars : ndarray of bool, shape (n,)
        Bright, unflagged ones.
    profile : StellarProfile
        Of the frame.
    radius : float
        Of the aperture, pixels.
    total_fwhm : float
        Radius, in FWHM, that counts as holding all the light.
    faint : ndarray of bool, shape (n,), optional
        Unflagged stars of any brightness, to be used where there are too few bright ones.
    sky_rms : float
        Noise of a pixel of empty sky, electrons: bright stars count by it.
    """
    wide = max(total_fwhm * profile.fwhm, radius + 1)
    usable = _alone(x, y, wide + radius) & _inside(x, y, clean.shape, wide)
    bright = np.flatnonzero(stars & usable)
    if len(bright) >= FEWEST:
        whole, inside = _light(clean, sky_mask, x[bright], y[bright], radius, wide, profile.fwhm)
        term = _field_term(clean, x[bright], y[bright], inside, profile, radius, sky_rms)
        return replace(_median_ratio(whole, inside), field=term)
    rows = bright if faint is None else np.flatnonzero((stars | faint) & usable)
    if len(rows) >= FEWEST:
        summed = _ratio_of_sums(*_light(clean, sky_mask, x[rows], y[rows], radius, wide, profile.fwhm))
        if summed.error <= _PRECISE:
            return summed
    factor = max(1.0, profile.enclosed(wide) / profile.enclosed(radius))
    return ApertureCorrection(
        factor,
        float("nan"),
        0,
        f"aperture correction {factor:.3f} from the fitted profile, for want of stars that are bright and "
        "alone: fluxes in electrons may be off by some per cent, all alike",
    )


def _light(
    clean: NDArray[np.float32],
    sky_mask: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    radius: float,
    wide: float,
    fwhm: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the whole light and that inside the aperture, electrons, of each star."""
    inner = max(wide + 1, _SKY[0] * fwhm)
    outer = max(inner + 4, _SKY[1] * fwhm)
    level, _ = local_background(clean, sky_mask, x, y, inner, outer)
    whole, inside = (
        sep.sum_circle(clean, x, y, r, subpix=0)[0] - np.pi * r**2 * level for r in (wide, radius)
    )
    return whole, inside


def _field_term(
    clean: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    inside: NDArray[np.float64],
    profile: StellarProfile,
    radius: float,
    sky_rms: float,
) -> FieldTerm | None:
    """Return how the light outside changes over the field; None where the stars tell of no change."""
    shape = clean.shape
    orders = [order for order in _ORDERS if len(x) >= _STARS_A_TERM * _count(order)]
    core = _CORE * profile.fwhm
    if not orders or core >= 0.9 * radius or np.ptp(x) < _SPAN * shape[1] or np.ptp(y) < _SPAN * shape[0]:
        return None
    within = np.maximum(sep.sum_circle(clean, x, y, core, subpix=0)[0], 1e-6)
    growth = inside / within
    ring = np.pi * (radius**2 - core**2)
    error = np.maximum(np.sqrt(ring * sky_rms**2 + np.maximum(inside - within, 0.0)) / within, 1e-5)
    # All orders are judged on the stars that the highest one keeps, and by the scatter about it.
    highest = fit_robust(_monomials(x, y, shape, orders[-1]), growth, error)
    kept, excess = highest.kept, robust_sigma(highest.residuals[highest.kept] / error[highest.kept])
    x, y, growth, error = x[kept], y[kept], growth[kept], error[kept] * max(excess, 1.0)
    fits = {order: fit_robust(_monomials(x, y, shape, order), growth, error) for order in (0, *orders)}
    order = min(fits, key=lambda one: _criterion(fits[one], error))
    if order == 0:
        return None
    fit = fits[order]
    x, y = x[fit.kept], y[fit.kept]
    mean = _monomials(x, y, shape, order).mean(axis=0)
    growths, factors = _by_width(profile, core, radius)
    return FieldTerm(
        coefficients=fit.coefficients,
        covariance=fit.covariance,
        order=order,
        mean=mean,
        lower=(float(x.min()), float(y.min())),
        upper=(float(x.max()), float(y.max())),
        shape=shape,
        growths=growths,
        factors=factors / np.interp(mean @ fit.coefficients, growths, factors),
    )


def _criterion(fit: RobustFit, error: NDArray[np.float64]) -> float:
    """Return the Bayesian information criterion (Schwarz 1978) of a fit, by the errors given."""
    return float(np.sum((fit.residuals / error) ** 2)) + len(fit.coefficients) * float(np.log(len(error)))


def _by_width(
    profile: StellarProfile, core: float, radius: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return growths of stars of all widths, ascending, and the whole light of each over the aperture's."""
    stars = [StellarProfile(profile.fwhm * one, profile.beta) for one in _WIDTHS]
    growths = np.array([one.enclosed(radius) / one.enclosed(core) for one in stars])
    factors = np.array([1.0 / one.enclosed(radius) for one in stars])
    order = np.argsort(growths)
    return growths[order], factors[order]


def _count(order: int) -> int:
    return (order + 1) * (order + 2) // 2


def _monomials(
    x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, ...], order: int
) -> NDArray[np.float64]:
    """Return 1, u, v, u^2, uv, v^2, ... of places from -1 to 1 across the frame: shape (n, k)."""
    u, v = 2.0 * x / (shape[1] - 1) - 1.0, 2.0 * y / (shape[0] - 1) - 1.0
    return np.column_stack([u ** (power - k) * v**k for power in range(order + 1) for k in range(power + 1)])


def _median_ratio(whole: NDArray[np.float64], inside: NDArray[np.float64]) -> ApertureCorrection:
    ratio = whole / np.maximum(inside, 1e-6)
    kept = ratio[np.abs(ratio - np.median(ratio)) <= max(_CLIP * robust_sigma(ratio), 1e-6)]
    error = float(np.std(kept) * np.sqrt(np.pi / 2 / len(kept)))
    return ApertureCorrection(max(1.0, float(np.median(kept))), error, len(kept))


def _ratio_of_sums(whole: NDArray[np.float64], inside: NDArray[np.float64]) -> ApertureCorrection:
    """Each star counts by its light, so that the faintest add little noise (Cochran 1977, ch. 6)."""
    outside = whole - inside
    kept = np.ones(len(whole), bool)
    for _ in range(3):
        light = max(float(inside[kept].sum()), 1e-6)
        residual = outside - float(outside[kept].sum()) / light * inside
        kept = np.abs(residual) <= max(_CLIP * robust_sigma(residual), 1e-6)
    count = int(kept.sum())
    light = max(float(inside[kept].sum()), 1e-6)
    factor = max(1.0, 1 + float(outside[kept].sum()) / light)
    error = float(np.std(residual[kept]) * np.sqrt(count)) / light * np.sqrt(count / max(count - 1, 1))
    return ApertureCorrection(
        factor,
        error,
        count,
        f"fewer than {FEWEST} bright stars: the aperture correction, {factor:.3f} +- {error:.3f}, is that of "
        f"{count} faint ones; fluxes in electrons are uncertain by it, all alike",
    )


def _alone(x: NDArray[np.float64], y: NDArray[np.float64], reach: float) -> NDArray[np.bool_]:
    alone = np.ones(len(x), bool)
    if len(x):
        alone[cKDTree(np.column_stack([x, y])).query_pairs(reach, output_type="ndarray").ravel()] = False
    return alone


def _inside(
    x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, ...], margin: float
) -> NDArray[np.bool_]:
    return (x > margin) & (x < shape[1] - 1 - margin) & (y > margin) & (y < shape[0] - 1 - margin)
