"""Fill bad pixels from the good ones around them, for those who need an image without holes.

Their flags stay, so that no measurement takes them for what was seen. Filled are pixels that the chip has
wrong in every exposure (BAD, HOT, DEAD). The core of a saturated star is not made up, and cosmic rays have a
cleaning of their own.

Nearly the same is done in `nightflow.sources.fill`, on a copy and without weights, so that sources can be
found across holes; here the frame itself changes, with its variance.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, set_flag
from nightflow.flags import UNUSABLE, Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import BadPixelSettings

__all__ = ["FILLED", "fill_pixels", "gaussian_weights", "square_weights"]

FILLED = Flag.BAD | Flag.HOT | Flag.DEAD
"""Pixels with any of these are filled."""

_REACH = 4.0
"""Standard deviations out to which a Gaussian's weights count, as in `astropy.convolution`."""


def fill_pixels(frame: Frame, settings: BadPixelSettings) -> Frame:
    """Fill bad, hot and dead pixels and flag them INTERPOLATED as well.

    Pixels with any bit of `nightflow.flags.UNUSABLE` lend nothing. The variance of a filled pixel is that of
    those that it was filled from, averaged as they were, or their own scatter squared where that is more: it
    is no better known than a measured one, however many neighbours it has, and worse on the flank of a star.

    Parameters
    ----------
    frame : Frame
        Of any unit.
    settings : BadPixelSettings
        ``fill = "gaussian"`` takes the mean weighted by a Gaussian of ``fill_sigma`` pixels, as
        `astropy.convolution.interpolate_replace_nans` does; "median" that of the good pixels in a square, if
        there are ``fill_minimum`` of them.

    Returns
    -------
    Frame
        Pixels without enough good neighbours keep their value, and are not flagged INTERPOLATED.
    """
    flags = flag_plane(frame)
    holes = np.flatnonzero(flags & int(FILLED))
    if settings.fill == "none" or len(holes) == 0:
        return frame
    unusable = (flags & int(UNUSABLE)) != 0
    values, variances = _values(frame, holes, unusable, settings)
    found = np.isfinite(values)
    data = frame.data.copy()
    data.flat[holes[found]] = values[found]
    variance = None if frame.variance is None else frame.variance.copy()
    if variance is not None:
        variance.flat[holes[found]] = variances[found]
    set_flag(flags.reshape(-1), holes[found], Flag.INTERPOLATED)
    left = len(holes) - int(found.sum())
    return frame.after(
        f"fill: {found.sum()} pixels by {settings.fill}, {left} left without enough good neighbours",
        data=data,
        variance=variance,
        flags=flags,
    )


def gaussian_weights(sigma: float) -> NDArray[np.float64]:
    """Return the weights of a square of neighbours, those of `astropy.convolution.Gaussian2DKernel`."""
    half = int(np.ceil(2 * _REACH * sigma)) // 2
    offsets = np.arange(-half, half + 1)
    along = np.exp(-(offsets**2) / (2 * sigma**2))
    return np.outer(along, along)


def square_weights(radius: int) -> NDArray[np.float64]:
    """Return equal weights of a square of ``2 * radius + 1`` pixels."""
    return np.ones((2 * radius + 1, 2 * radius + 1))


def _values(
    frame: Frame, holes: NDArray[np.int64], unusable: NDArray[np.bool_], settings: BadPixelSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return values and variances for the holes; NaN where they cannot be filled."""
    variance = frame.variance if frame.variance is not None else np.zeros_like(frame.data)
    median = settings.fill == "median"
    weights = square_weights(settings.fill_radius) if median else gaussian_weights(settings.fill_sigma)
    least = settings.fill_minimum if median else 1
    return _fill(frame.data, variance, unusable, holes, weights, median, least)


@numba.njit(nogil=True, cache=True)
def _fill(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    unusable: NDArray[np.bool_],
    holes: NDArray[np.int64],
    weights: NDArray[np.float64],
    median: bool,
    least: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return values and variances of the holes, given as indices into the flattened plane."""
    ny, nx = data.shape
    half = weights.shape[0] // 2
    filled = np.full(holes.size, np.nan, np.float32)
    errors = np.full(holes.size, np.nan, np.float32)
    value = np.empty(weights.size)
    weight = np.empty(weights.size)
    for hole in range(holes.size):
        y, x = holes[hole] // nx, holes[hole] % nx
        count = 0
        total = mean = noise = 0.0
        for row in range(max(y - half, 0), min(y + half + 1, ny)):
            for column in range(max(x - half, 0), min(x + half + 1, nx)):
                if unusable[row, column]:
                    continue
                w = weights[row - y + half, column - x + half]
                value[count], weight[count] = data[row, column], w
                count += 1
                total += w
                mean += w * data[row, column]
                noise += w * variance[row, column]
        if count < least or total <= 0:
            continue
        mean, noise = mean / total, noise / total
        center = np.median(value[:count]) if median else mean
        scatter = np.sum(weight[:count] * (value[:count] - center) ** 2) / total
        filled[hole], errors[hole] = center, max(noise, scatter)
    return filled, errors
