"""A straight line across a frame: fitted to points, and judged by the light along it and beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.trail_kernels import sample_across
from nightflow.robust import robust_sigma

__all__ = ["Line", "Trail", "fit_line", "verify"]

_FIT_WIDTHS = (4.0, 2.5, 2.5)
"""Squares on either side of a line whose points it is fitted to, one pass after the other."""

_BREAK_EVEN = 0.6
"""Share of squares with light along a line above which a longer stretch of it is the better one."""
_LEAST_COVERAGE = 0.75
_MOST_BESIDE = 0.5
"""Share of squares with light beside a trail, in units of that on it; more is a nebula or a halo's edge."""
_BESIDE = 7
"""Squares from the line to where that is judged."""
_LEAST_KNOWN_BESIDE = 0.5
"""Share of a trail's length whose surroundings are known on either side: along the edge of a frame the
background itself has a ridge where vignetting or the amplifier's glow bends it."""
_LEAST_DRIFT = 1.0
"""Squares by which a trail changes both row and column, as bleeding and bad columns do not."""
_MOST_FADING = 0.15
"""Ratio of a trail's faint fifth to its bright fifth. A star's spike fades as the distance squared."""
_LEAST_AT_ENDS = 0.5
"""Of the light in the middle third of a trail, at its brighter end: a galaxy ends by fading at both."""
_LEAST_SLENDER = 10
"""Length of a trail in units of its width."""
_BLOCK = 16
"""Places along a trail that are taken together for that."""
_TO_THE_EDGE = 0.15
"""Of a trail's length, what may be lost in dark corners between its end and the edge that it runs to."""

_PROFILE_REACH, _PROFILE_SKY = 32, 24
"""Pixels across a trail that are looked at; beyond the second they are sky."""
_MOST_OFF_CENTER = 6
"""Pixels from the line to a trail's brightest part."""
_WING = 0.1
"""Of a trail's peak, to which it is masked."""
_MOST_WIDTH = 24
"""Pixels, full width at half maximum."""


@dataclass(frozen=True)
class Line:
    """A point (x, y) and a direction (ux, uy) of length 1."""

    x: float
    y: float
    ux: float
    uy: float

    def across(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the distances of points from the line, positive to its left."""
        return (y - np.float32(self.y)) * np.float32(self.ux) - (x - np.float32(self.x)) * np.float32(self.uy)

    def inside(self, shape: tuple[int, ...]) -> tuple[float, float]:
        """Return from where to where the line runs inside a frame, in units of its direction."""
        low, high = -np.inf, np.inf
        for start, step, length in ((self.x, self.ux, shape[1]), (self.y, self.uy, shape[0])):
            if abs(step) > 1e-9:
                ends = sorted(((-0.5 - start) / step, (length - 0.5 - start) / step))
                low, high = max(low, ends[0]), min(high, ends[1])
        return low, high

    def at(self, t: float) -> tuple[float, float]:
        """Return (x, y) of a place on the line."""
        return self.x + t * self.ux, self.y + t * self.uy


@dataclass(frozen=True)
class Trail:
    """A trail in pixels.

    Attributes
    ----------
    begin : tuple of float
        (x, y), 0-based.
    direction : tuple of float
        Unit vector (x, y).
    length : float
        Pixels.
    low, high : float
        Pixels across, to the right and left of the direction, between which there is light.
    """

    begin: tuple[float, float]
    direction: tuple[float, float]
    length: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return both ends in FITS pixels, and the width."""
        x, y = self.begin
        ends = (x + self.length * self.direction[0], y + self.length * self.direction[1])
        width = self.high - self.low
        return f"({x + 1:.0f}, {y + 1:.0f}) to ({ends[0] + 1:.0f}, {ends[1] + 1:.0f}), {width:.0f} px wide"


def fit_line(x: NDArray[np.float32], y: NDArray[np.float32], line: Line) -> Line:
    """Return the line through the points near ``line``, rightwards (least squares of the distances)."""
    for width in _FIT_WIDTHS:
        near = np.abs(line.across(x, y)) <= width
        if np.count_nonzero(near) < 2:
            return line
        points = np.stack([x[near], y[near]]).astype(np.float64)
        center = points.mean(axis=1)
        direction = np.linalg.eigh(np.cov(points))[1][:, 1]
        direction *= np.sign(direction[0]) or 1.0
        line = Line(float(center[0]), float(center[1]), float(direction[0]), float(direction[1]))
    return line


def verify(
    line: Line,
    significance: NDArray[np.float32],
    data: NDArray[np.float32],
    size: int,
    *,
    threshold: float,
    least: float,
) -> Trail | None:
    """Return the trail along a line; None where there is none.

    Parameters
    ----------
    line : Line
        In squares.
    significance : ndarray of float32, shape (my, mx)
        Squares of ``size`` pixels in units of their noise; NaN where unknown.
    data : ndarray of float32, shape (ny, nx)
        The frame's pixels.
    size : int
        Pixels along the side of a square.
    threshold : float
        From which a square has light.
    least : float
        Squares; the shortest trail.
    """
    low, high = line.inside(significance.shape)
    if not high - low >= least:
        return None
    steps = int(high - low) + 1
    samples = sample_across(significance, line.at(low), (line.ux, line.uy), steps, 1.0, _BESIDE)
    stretch = _lit_stretch(samples, threshold)
    if stretch is None or not _is_trail(line, samples[stretch], threshold, least):
        return None
    begin, end = low + stretch.start, low + stretch.stop - 1
    reach = _TO_THE_EDGE * (end - begin)
    begin = low if begin - low < reach else begin - 1
    end = high if high - end < reach else end + 1
    x, y = (size * (place + 0.5) - 0.5 for place in line.at(begin))
    length = (end - begin) * size
    width = _width(data, (x, y), (line.ux, line.uy), length)
    return None if width is None else Trail((x, y), (line.ux, line.uy), length, *width)


def _ridge(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the brightest of the three squares at each step along the line; minus infinity where unknown."""
    middle = samples[:, _BESIDE - 1 : _BESIDE + 2]
    return np.where(np.isfinite(middle), middle, -np.inf).max(axis=1)


def _lit_stretch(samples: NDArray[np.float32], threshold: float) -> slice | None:
    """Return the stretch of the line with the most light for its length (the maximum subarray of Kadane)."""
    ridge = _ridge(samples)
    gain = np.where(np.isfinite(ridge), (ridge > threshold) - _BREAK_EVEN, 0.0)
    total = np.concatenate([[0.0], np.cumsum(gain)])
    lowest = np.minimum.accumulate(total)
    stop = int(np.argmax(total - lowest))
    start = int(np.argmin(total[: stop + 1]))
    return slice(start, stop) if stop > start else None


def _is_trail(line: Line, samples: NDArray[np.float32], threshold: float, least: float) -> bool:
    ridge = _ridge(samples)
    known = np.isfinite(ridge)
    length = len(samples)
    if length < least or known.sum() < least / 2:
        return False
    if min(abs(line.ux), abs(line.uy)) * length <= _LEAST_DRIFT:
        return False
    coverage = np.mean(ridge[known] > threshold)
    beside = samples[:, [0, -1]]
    if np.isfinite(beside).mean(axis=0).min() < _LEAST_KNOWN_BESIDE:
        return False
    lit_beside = np.mean(beside[np.isfinite(beside)] > threshold) if np.isfinite(beside).any() else 0.0
    return bool(coverage >= _LEAST_COVERAGE and lit_beside <= _MOST_BESIDE * coverage)


def _width(
    data: NDArray[np.float32], begin: tuple[float, float], direction: tuple[float, float], length: float
) -> tuple[float, float] | None:
    """Return from where to where across the line there is light, pixels; None where it is no narrow trail.

    The median along the line at each distance from it: stars on the way do not move it.
    """
    stride = max(1.0, length / 2000)
    samples = sample_across(data, begin, direction, int(length / stride) + 1, stride, _PROFILE_REACH)
    known = np.isfinite(samples).sum(axis=0) > len(samples) / 4
    profile = np.zeros(samples.shape[1])
    profile[known] = np.nanmedian(samples[:, known], axis=0)
    distance = np.arange(-_PROFILE_REACH, _PROFILE_REACH + 1)
    sky = known & (np.abs(distance) > _PROFILE_SKY)
    if not sky.any() or not known[_PROFILE_REACH]:
        return None
    profile -= np.median(profile[sky])
    noise = robust_sigma(samples[:, sky].ravel()) * np.sqrt(np.pi / 2 / len(samples))
    near = np.abs(distance) <= _MOST_OFF_CENTER
    peak = int(np.argmax(np.where(near & known, profile, -np.inf)))
    if profile[peak] <= 5 * noise or _extent(profile > profile[peak] / 2, peak)[2] > _MOST_WIDTH:
        return None
    if _fades(_by_block(samples[:, peak - 1 : peak + 2]) - _by_block(samples[:, sky])):
        return None
    first, last, width = _extent(profile > max(_WING * profile[peak], 2 * noise), peak)
    if width * _LEAST_SLENDER > length:
        return None
    return float(distance[first] - 1), float(distance[last] + 1)


def _by_block(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the medians of successive places along a trail; NaN where nothing is known."""
    blocks = samples[: len(samples) // _BLOCK * _BLOCK].reshape(-1, _BLOCK * samples.shape[1])
    medians = np.full(len(blocks), np.nan, np.float32)
    known = np.isfinite(blocks).any(axis=1)
    medians[known] = np.nanmedian(blocks[known], axis=1)
    return medians


def _fades(light: NDArray[np.float32]) -> bool:
    """Return whether the light along a trail is that of a star's spike, or of a galaxy seen edge-on."""
    light = light[np.isfinite(light)]
    sixth = len(light) // 6
    if sixth == 0:
        return True
    faint, bright = np.quantile(light, [0.2, 0.8])
    ends = max(light[:sixth].mean(), light[-sixth:].mean())
    return bool(
        faint < _MOST_FADING * bright or ends < _LEAST_AT_ENDS * np.median(light[2 * sixth : -2 * sixth])
    )


def _extent(above: NDArray[np.bool_], peak: int) -> tuple[int, int, int]:
    """Return first, last and number of the places around the peak that are above."""
    first = last = peak
    while first > 0 and above[first - 1]:
        first -= 1
    while last + 1 < len(above) and above[last + 1]:
        last += 1
    return first, last, last - first + 1
