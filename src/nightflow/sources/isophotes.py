"""What the pixels of detections say of them: moments, peaks, and how their light falls off."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Isophotes", "measure_isophotes"]

_PIXEL_VARIANCE = 1 / 12
_SMALLEST_DETERMINANT = _PIXEL_VARIANCE**2
"""Of the moments of what is spread over pixels; a line of single pixels has less."""
_PIXELS, _LIGHT, _X, _Y, _XX, _YY, _XY, _THRESHOLD = range(8)
"""Columns of the sums."""


@dataclass
class Isophotes:
    """Of n detections; places in pixels, light in electrons of the convolved image.

    Attributes
    ----------
    pixels : ndarray of float64
        How many are above the threshold.
    light : ndarray of float64
        Sum over those.
    x, y, xx, yy, xy : ndarray of float64
        First moments, and second ones about them.
    threshold : ndarray of float64
        Mean of its pixels'.
    peak : ndarray of float64
        Highest pixel of the image before the convolution.
    contrast : ndarray of float64
        By how much as many pixels as a detection needs at least stand above the threshold.
    fullness : ndarray of float64
        Area of the image before the convolution above its threshold, less that above the middle between
        threshold and peak, over that of a Gaussian of these moments; 1 at most.
    """

    pixels: NDArray[np.float64]
    light: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]
    threshold: NDArray[np.float64]
    peak: NDArray[np.float64]
    contrast: NDArray[np.float64]
    fullness: NDArray[np.float64]

    @property
    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Semi-major and semi-minor axes in pixels, and the angle of the former in radians from +x to +y."""
        middle, half = 0.5 * (self.xx + self.yy), 0.5 * (self.xx - self.yy)
        apart = np.hypot(half, self.xy)
        angle = np.where(half == 0, np.pi / 4, 0.5 * np.arctan2(2 * self.xy, self.xx - self.yy))
        return np.sqrt(middle + apart), np.sqrt(np.maximum(middle - apart, 0)), angle


def measure_isophotes(
    data: NDArray[np.float32],
    smooth: NDArray[np.float32],
    thresholds: tuple[NDArray[np.float32], float],
    segments: NDArray[np.int32],
    runs: NDArray[np.int32],
    count: int,
    minimum_area: int,
) -> Isophotes:
    """Measure detections by the pixels that are theirs: the quantities of SExtractor (Bertin & Arnouts 1996).

    Parameters
    ----------
    data, smooth : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons before and after the convolution.
    thresholds : tuple
        Noise of each pixel, and the threshold in units of it.
    segments : ndarray of int32, shape (ny, nx)
        Number of the detection of each pixel, from 1; 0 elsewhere.
    runs : ndarray of int32, shape (n, 3)
        Where to look: all pixels that are not 0 are in one of them.
    count, minimum_area : int
        Of detections; pixels that a detection needs at least.
    """
    rms, relative = thresholds
    origin = np.full((count, 2), -1, np.int32)
    sums, tops = np.zeros((count, 8)), np.full((count, minimum_area), -np.inf)
    peak = np.full(count, -np.inf)
    _sum_up(data, smooth, rms, np.float32(relative), segments, runs, origin, sums, tops, peak)
    pixels, light = sums[:, _PIXELS], sums[:, _LIGHT]
    x, y = sums[:, _X] / light, sums[:, _Y] / light
    xx, yy = sums[:, _XX] / light - x * x, sums[:, _YY] / light - y * y
    xy = sums[:, _XY] / light - x * y
    thin = xx * yy - xy * xy < _SMALLEST_DETERMINANT
    xx[thin] += _PIXEL_VARIANCE
    yy[thin] += _PIXEL_VARIANCE
    threshold = sums[:, _THRESHOLD] / pixels
    found = Isophotes(
        pixels, light, x + origin[:, 1], y + origin[:, 0], xx, yy, xy, threshold, peak, tops[:, 0], peak
    )
    between = _areas(data, threshold, 0.5 * (threshold + peak), segments, runs)
    found.fullness = _fullness(found, between)
    return found


def _fullness(found: Isophotes, between: NDArray[np.float64]) -> NDArray[np.float64]:
    major, minor, _ = found.axes
    ratio = 2 * found.threshold / (found.threshold + found.peak)
    gaussian = -2 * np.pi * np.log(np.clip(ratio, 1e-30, 0.99)) * major * minor
    fullness = np.maximum(between, 1.0) / np.where(gaussian > 0, gaussian, np.inf)
    return np.where((ratio > 0) & (gaussian > 0), np.minimum(fullness, 1.0), 1.0)


@numba.njit(nogil=True, cache=True)
def _sum_up(
    data: NDArray[np.float32],
    smooth: NDArray[np.float32],
    rms: NDArray[np.float32],
    relative: np.float32,
    segments: NDArray[np.int32],
    runs: NDArray[np.int32],
    origin: NDArray[np.int32],
    sums: NDArray[np.float64],
    tops: NDArray[np.float64],
    peak: NDArray[np.float64],
) -> None:
    for run in range(len(runs)):
        row, first, stop = runs[run]
        for column in range(first, stop):
            one = segments[row, column] - 1
            if one < 0:
                continue
            if origin[one, 0] < 0:
                origin[one, 0], origin[one, 1] = row, column
            # From a place near by: squares of large numbers would round.
            y, x = row - origin[one, 0], column - origin[one, 1]
            value, threshold = float(smooth[row, column]), float(relative * rms[row, column])
            mine = sums[one]
            mine[_PIXELS] += 1
            mine[_LIGHT] += value
            mine[_X] += value * x
            mine[_Y] += value * y
            mine[_XX] += value * x * x
            mine[_YY] += value * y * y
            mine[_XY] += value * x * y
            mine[_THRESHOLD] += threshold
            peak[one] = max(peak[one], data[row, column])
            _insert(tops[one], value - threshold)


@numba.njit(nogil=True, cache=True)
def _insert(top: NDArray[np.float64], value: float) -> None:
    """Keep the greatest values in ascending order."""
    if value <= top[0]:
        return
    place = 0
    while place + 1 < len(top) and top[place + 1] < value:
        top[place] = top[place + 1]
        place += 1
    top[place] = value


@numba.njit(nogil=True, cache=True)
def _areas(
    data: NDArray[np.float32],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    segments: NDArray[np.int32],
    runs: NDArray[np.int32],
) -> NDArray[np.float64]:
    """Return how many pixels of each detection are above ``low`` and not above ``high``."""
    area = np.zeros(len(low))
    for run in range(len(runs)):
        row, first, stop = runs[run]
        for column in range(first, stop):
            one = segments[row, column] - 1
            if one >= 0 and low[one] < data[row, column] <= high[one]:
                area[one] += 1.0
    return area
