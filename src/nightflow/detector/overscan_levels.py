"""The electronic level along an overscan strip: medians across it, or a smooth curve through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from nightflow.instruments.amplifiers import Region
from nightflow.instruments.profile import OverscanMode
from nightflow.robust import robust_sigma

__all__ = ["LevelCurve", "level_profile", "line_axis", "line_levels", "strip_variance"]

Array = NDArray[np.float64]

HUBER_LIMIT = 1.345
"""Standard deviations beyond which a line loses weight (Huber 1981: 95 % efficient for Gaussian noise)."""

REWEIGHTINGS, CLIPPINGS = 8, 4

QUANTISATION = 12**-0.5
"""ADU: counts are whole numbers, and medians of quiet ones may all be the same."""

STIFFNESS = 1e-3
"""Weight of the curve's own smoothness: it bridges lines without a level, and is not felt elsewhere."""


@dataclass(frozen=True, kw_only=True)
class LevelCurve:
    """The curve of the modes "polynomial" and "spline".

    Attributes
    ----------
    order : int
        Degree of the polynomial.
    knots : int
        Pieces of the cubic spline, of equal length.
    clip : float
        Lines that lie off the curve by more than so many robust standard deviations do not count.
    """

    order: int = 3
    knots: int = 8
    clip: float = 3.5

    def parameters(self, mode: OverscanMode) -> int:
        """Return how many numbers the curve is made of."""
        return self.knots + 3 if mode == "spline" else self.order + 1


DEFAULT_CURVE = LevelCurve()


def line_axis(section: Region) -> int:
    """Return the axis along which the strip runs: 0 for a strip of columns, 1 for a strip of rows."""
    rows, columns = section
    return 0 if rows.stop - rows.start >= columns.stop - columns.start else 1


def level_profile(data: NDArray[np.float32], section: Region) -> NDArray[np.float32]:
    """Return the level of each line of the frame, from the medians across the strip.

    Lines that the strip does not reach, or where it holds nothing finite, take the value of the
    nearest ones by linear interpolation.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    section : tuple of slice
        (rows, columns) of the strip.

    Returns
    -------
    ndarray of float32, shape (ny,) or (nx,)
        One level a row for a strip of columns, one a column for a strip of rows.
    """
    lines, medians = _medians(data, section)
    return np.interp(np.arange(data.shape[line_axis(section)]), lines, medians).astype(np.float32)


def line_levels(
    data: NDArray[np.float32], section: Region, mode: OverscanMode, curve: LevelCurve = DEFAULT_CURVE
) -> NDArray[np.float32]:
    """Return what ``mode`` subtracts from each line of the frame.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Raw counts; the strip holds at least one finite pixel.
    section : tuple of slice
        (rows, columns) of the strip.
    mode : {"off", "median", "row_median", "polynomial", "spline"}
        Zero; the median of the strip; `level_profile`; a polynomial or a cubic spline through it. A curve is
        fitted with Huber's weights, then without the lines that lie off it, so that hits and the charge
        that trails behind a saturated star do not bend it. Beyond the strip's ends it stays level.
    curve : LevelCurve
        Of the last two modes.

    Returns
    -------
    ndarray of float32, shape (ny,) or (nx,)
        As `level_profile`.
    """
    length = data.shape[line_axis(section)]
    if mode == "off":
        return np.zeros(length, np.float32)
    if mode == "median":
        return np.full(length, np.nanmedian(data[section]), np.float32)
    if mode == "row_median":
        return level_profile(data, section)
    lines, medians = _medians(data, section)
    along = section[line_axis(section)]
    place = np.clip(np.arange(length), along.start, along.stop - 1)
    basis = _basis(place, along, mode, curve)
    return (basis @ _robust_fit(basis[lines], medians, mode, curve)).astype(np.float32)


def strip_variance(
    section: Region, noise: float, mode: OverscanMode, curve: LevelCurve = DEFAULT_CURVE
) -> float:
    """Return the variance of the level that `line_levels` finds, in the square of the unit of ``noise``.

    The median of n Gaussian values has the variance pi / 2n (Kenney & Keeping 1962); a curve of p parameters
    through m of them has p / m of that on average. One level for the whole frame averages thousands of
    pixels and adds nothing that counts.

    Parameters
    ----------
    section : tuple of slice
        (rows, columns) of the strip.
    noise : float
        Standard deviation of a pixel of the strip.
    """
    if mode in ("off", "median"):
        return 0.0
    axis = line_axis(section)
    across, along = section[1 - axis], section[axis]
    of_a_line = float(np.pi / 2 * noise**2 / (across.stop - across.start))
    if mode == "row_median":
        return of_a_line
    return of_a_line * min(1.0, curve.parameters(mode) / (along.stop - along.start))


def _medians(data: NDArray[np.float32], section: Region) -> tuple[NDArray[np.intp], Array]:
    """Return the lines, counted from the frame's first, that have a level, and their levels."""
    axis = line_axis(section)
    strip = data[section]
    usable = np.isfinite(strip).any(axis=1 - axis)
    medians = np.nanmedian(np.compress(usable, strip, axis=axis), axis=1 - axis)
    return np.flatnonzero(usable) + section[axis].start, medians.astype(np.float64)


def _basis(place: NDArray[np.intp], along: slice, mode: OverscanMode, curve: LevelCurve) -> Array:
    """Return the curve's functions at each line, shape (n lines, n parameters)."""
    unit = (place - along.start) / max(1, along.stop - 1 - along.start)
    if mode == "polynomial":
        return np.polynomial.legendre.legvander(2.0 * unit - 1.0, curve.order)
    knots = np.concatenate([[0.0] * 3, np.linspace(0.0, 1.0, curve.knots + 1), [1.0] * 3])
    return np.asarray(BSpline.design_matrix(unit, knots, 3).toarray())


def _robust_fit(basis: Array, levels: Array, mode: OverscanMode, curve: LevelCurve) -> Array:
    weights = np.ones(len(levels))
    for step in range(REWEIGHTINGS + CLIPPINGS):
        parameters = _weighted_fit(basis, levels, weights, mode)
        off = np.abs(levels - basis @ parameters)
        scale = max(robust_sigma(levels - basis @ parameters), QUANTISATION)
        if step < REWEIGHTINGS:
            weights = np.sqrt(HUBER_LIMIT * scale / np.maximum(off, HUBER_LIMIT * scale))
        else:
            weights = (off <= curve.clip * scale).astype(np.float64)
    return parameters


def _weighted_fit(basis: Array, levels: Array, weights: Array, mode: OverscanMode) -> Array:
    """Return the least-squares parameters; those of a spline are held together (Eilers & Marx 1996)."""
    matrix, target = basis * weights[:, np.newaxis], levels * weights
    if mode == "spline":
        bend = np.sqrt(STIFFNESS) * np.diff(np.eye(basis.shape[1]), 2, axis=0)
        matrix, target = np.vstack([matrix, bend]), np.concatenate([target, np.zeros(len(bend))])
    return np.asarray(np.linalg.lstsq(matrix, target, rcond=None)[0])
