"""The PSF of a frame, from its own stars."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.sources.psf.fit import FIT_FWHM, FitPixels, StarFits
from nightflow.sources.psf.kernels import accumulate, predict
from nightflow.sources.psf.model import N_TERMS, PsfModel, aperture_sums

__all__ = ["PsfCheck", "build_psf"]

Array = NDArray[np.float64]

_FEWEST = (5, 20, 60, 100)
"""Stars from which on a PSF of 1, 3, 6 and 7 terms over the field is built."""
_HELD_OUT = 5
"""One star of so many is held out for the check."""
_STEPS = 15
_CLIP_SIGMA, _CLIP_SHARE = 5.0, 0.15
"""A pixel is left out that is off by more than so many sigma and such a part of the PSF's own value there: a
companion that was not found, a cosmic ray."""
_FREEDOM, _FLOOR = 0.3, 1e-4
"""How far a node is thought to be from its first guess, 1 sigma: in parts of its value, and of the peak."""
_WIDEST = 2.0
"""Factor between the peaks at two places of the frame from which on a polynomial is not believed."""


@dataclass(frozen=True, kw_only=True)
class PsfCheck:
    """How well the PSF fits stars that it was not built from.

    Attributes
    ----------
    n_stars, n_held_out : int
        Stars that the PSF is built from, and those among them that were held out once; the others then made
        the PSF that was checked.
    n_terms : int
        Of the polynomial over the field.
    chi2 : float
        Median of the held-out stars' squared residuals by their variance, within 1.25 FWHM.
    error : float
        What the residuals hold beyond the noise, relative to the PSF: root of the summed squares over that of
        the PSF's. 0 where the noise explains them.
    """

    n_stars: int
    n_held_out: int
    n_terms: int
    chi2: float
    error: float


@dataclass(frozen=True)
class _Samples:
    """Pixels of PSF stars in units of their flux, neighbours taken off; stamps of shape (n, size, size)."""

    x: Array
    y: Array
    corner: NDArray[np.intp]
    value: Array
    weight: Array

    def take(self, rows: NDArray[np.bool_]) -> _Samples:
        return _Samples(self.x[rows], self.y[rows], self.corner[rows], self.value[rows], self.weight[rows])


def build_psf(
    pixels: FitPixels, psf: PsfModel, fits: StarFits, chosen: NDArray[np.intp]
) -> tuple[PsfModel, PsfCheck] | None:
    """Refine a PSF by the residuals that it leaves at some stars.

    All pixels of all stars together give the coefficients of the spline for each term of a polynomial over
    the field, by penalised least squares (conjugate gradients): where the pixels say little, in the wings,
    the PSF stays what it was. The polynomial has the terms that the number of stars and their spread carry.

    Parameters
    ----------
    pixels : FitPixels
    psf : PsfModel
        By which the stars were fitted.
    fits : StarFits
        All stars, so that neighbours can be taken off.
    chosen : ndarray of int, shape (n,)
        Rows of the stars to build from.

    Returns
    -------
    tuple or None
        None where fewer than 5 stars are there.
    """
    if len(chosen) < _FEWEST[0]:
        return None
    samples = _samples(pixels, psf, fits, chosen)
    held_out = np.arange(len(chosen)) % _HELD_OUT == _HELD_OUT - 1
    for n_terms in reversed(_possible_terms(samples, psf.shape)):
        partial = _refined(psf, samples.take(~held_out), n_terms)
        model = _refined(psf, samples, n_terms)
        if _is_sound(partial) and _is_sound(model):
            return model, _check(partial, samples.take(held_out), len(chosen))
    return None


def _samples(pixels: FitPixels, psf: PsfModel, fits: StarFits, chosen: NDArray[np.intp]) -> _Samples:
    half = math.ceil(psf.radius)
    x, y, flux = fits.x[chosen], fits.y[chosen], fits.flux[chosen]
    corner = (np.rint(np.column_stack([y, x])) - half).astype(np.intp)
    model = psf.image(fits.x, fits.y, fits.flux)
    offset = np.arange(2 * half + 1)
    rows, columns = corner[:, 0, None, None] + offset[:, None], corner[:, 1, None, None] + offset
    inside = (rows >= 0) & (rows < psf.shape[0]) & (columns >= 0) & (columns < psf.shape[1])
    at = np.clip(rows, 0, psf.shape[0] - 1), np.clip(columns, 0, psf.shape[1] - 1)
    own = _predicted(psf, x, y, corner, 2 * half + 1)
    near = np.hypot(columns - x[:, None, None], rows - y[:, None, None]) <= psf.radius
    variance = np.maximum(pixels.noise[at] + model[at], pixels.least)
    residual = pixels.data[at] - model[at]
    # What the other stars leave at this place is as uncertain as their light there is.
    others = np.maximum(model[at] - flux[:, None, None] * own, 0)
    variance = variance + (0.1 * others) ** 2
    weight = np.where(inside & near & np.isfinite(variance), flux[:, None, None] ** 2 / variance, 0.0)
    return _Samples(x, y, corner, residual / flux[:, None, None] + own, weight)


def _predicted(psf: PsfModel, x: Array, y: Array, corner: NDArray[np.intp], size: int) -> Array:
    return predict(psf.coefficients, psf.terms(x, y), x, y, corner, psf.oversampling, size)


def _possible_terms(samples: _Samples, shape: tuple[int, int]) -> tuple[int, ...]:
    """Return how many terms number and spread of the stars carry, ascending."""
    quarter = (samples.x > shape[1] / 2).astype(int) + 2 * (samples.y > shape[0] / 2)
    least = np.bincount(quarter, minlength=4).min()
    carried = sum(len(samples.x) >= fewest for fewest in _FEWEST)
    return N_TERMS[:carried] if least >= 2 * (carried - 1) else N_TERMS[:1]


def _refined(psf: PsfModel, samples: _Samples, n_terms: int) -> PsfModel:
    """Return the PSF with the correction that the samples ask for."""
    nodes = psf.coefficients.shape[1]
    start = np.zeros((n_terms, nodes, nodes))
    kept = min(n_terms, len(psf.norms))
    start[:kept] = psf.coefficients[:kept]
    norms = np.zeros(n_terms)
    norms[:kept] = psf.norms[:kept]
    # Samples are in units of fluxes by the norm that the PSF had at their places.
    raw = replace(psf, coefficients=start, norms=norms)
    terms = raw.terms(samples.x, samples.y)
    size = samples.value.shape[1]
    expected = predict(start, terms, samples.x, samples.y, samples.corner, psf.oversampling, size)
    freedom = _FREEDOM * np.abs(psf.coefficients[0]) + _FLOOR * np.abs(psf.coefficients[0]).max()
    correction = np.zeros_like(start)
    weight = samples.weight
    for _ in range(2):
        found = _predicted_raw(correction, terms, samples, psf.oversampling)
        weight = _clipped(samples.weight, samples.value - expected - found, expected + found)
        correction = _solve(
            weight, samples.value - expected, terms, samples, psf.oversampling, freedom, start
        )
    coefficients = start + correction
    sums = aperture_sums(nodes, psf.oversampling, psf.aperture_radius)
    return replace(psf, coefficients=coefficients, norms=(coefficients * sums).sum(axis=(1, 2)))


def _predicted_raw(coefficients: Array, terms: Array, samples: _Samples, oversampling: int) -> Array:
    return predict(
        coefficients, terms, samples.x, samples.y, samples.corner, oversampling, samples.value.shape[1]
    )


def _clipped(weight: Array, residual: Array, expected: Array) -> Array:
    noise = 1 / np.sqrt(np.where(weight > 0, weight, np.inf))
    kept = np.abs(residual) <= _CLIP_SIGMA * noise + _CLIP_SHARE * np.abs(expected)
    return np.where(kept, weight, 0.0)


def _solve(
    weight: Array,
    value: Array,
    terms: Array,
    samples: _Samples,
    oversampling: int,
    freedom: Array,
    like: Array,
) -> Array:
    """Return the coefficients that fit ``value`` best and are small in units of ``freedom``."""

    def gathered(pixels: Array) -> Array:
        return freedom * accumulate(
            pixels, terms, samples.x, samples.y, samples.corner, oversampling, like.shape[1]
        )

    def matrix(unknown: Array) -> Array:
        pixels = _predicted_raw(unknown * freedom, terms, samples, oversampling)
        return gathered(weight * pixels) + unknown

    return freedom * _conjugate_gradients(matrix, gathered(weight * value), np.zeros_like(like), _STEPS)


def _conjugate_gradients(matrix: Callable[[Array], Array], right: Array, x: Array, steps: int) -> Array:
    residual = right - matrix(x)
    direction = residual.copy()
    size = float((residual**2).sum())
    target = 1e-8 * float((right**2).sum())
    for _ in range(steps):
        if size <= target:
            break
        image = matrix(direction)
        length = size / float((direction * image).sum())
        x = x + length * direction
        residual = residual - length * image
        new_size = float((residual**2).sum())
        direction = residual + new_size / size * direction
        size = new_size
    return x


def _is_sound(psf: PsfModel) -> bool:
    """Return whether the PSF is a peak of about one height all over the frame."""
    ny, nx = psf.shape
    y, x = (one.ravel() for one in np.mgrid[0 : ny - 1 : 5j, 0 : nx - 1 : 5j])
    terms = np.empty((len(x), len(psf.norms)))
    terms[:] = psf.terms(x, y)
    middle = psf.coefficients.shape[1] // 2
    peak = terms @ psf.coefficients[:, middle, middle]
    return bool(np.isfinite(peak).all() and peak.min() > 0 and peak.max() < _WIDEST**2 * peak.min())


def _check(psf: PsfModel, samples: _Samples, n_stars: int) -> PsfCheck:
    expected = _predicted(psf, samples.x, samples.y, samples.corner, samples.value.shape[1])
    offset = np.arange(samples.value.shape[1])
    distance = np.hypot(
        samples.corner[:, 1, None, None] + offset - samples.x[:, None, None],
        samples.corner[:, 0, None, None] + offset[:, None] - samples.y[:, None, None],
    )
    weight = np.where(distance <= FIT_FWHM * psf.fwhm, samples.weight, 0.0)
    axes = (1, 2)
    flux = (weight * expected * samples.value).sum(axis=axes) / (weight * expected**2).sum(axis=axes)
    residual = samples.value - flux[:, None, None] * expected
    used = weight > 0
    chi2 = (weight * residual**2).sum(axis=axes) / np.maximum(used.sum(axis=axes) - 3, 1)
    noise = np.where(used, 1 / np.where(used, weight, 1.0), 0.0)
    excess = np.where(used, residual**2 - noise, 0.0).sum(axis=axes)
    relative = excess / np.where(used, expected**2, 0.0).sum(axis=axes)
    return PsfCheck(
        n_stars=n_stars,
        n_held_out=len(samples.x),
        n_terms=psf.n_terms,
        chi2=float(np.median(chi2)),
        error=math.sqrt(max(float(np.median(relative)), 0.0)),
    )
