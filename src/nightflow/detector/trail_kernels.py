"""The loops over pixels and points of `nightflow.detector.trails`, compiled by numba."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["BIN", "bin_rows", "component_shapes", "draw_band", "sample_across", "vote"]


BIN = 4
"""Pixels along the side of a square; fixed, so that the loops over its pixels are unrolled."""


@numba.njit(nogil=True, cache=True, fastmath=True)
def bin_rows(
    data: NDArray[np.float32],
    flags: NDArray[np.uint16],
    excluded: int,
    binned: NDArray[np.float32],
    usable: NDArray[np.bool_],
    start: int,
    stop: int,
) -> None:
    """Write the means of the good pixels of `BIN` x `BIN` squares into rows of ``binned``.

    A square with fewer good pixels than bad ones is not ``usable``.
    """
    zero = np.float32(0)
    bits = np.uint16(excluded)
    for row in range(start, stop):
        for column in range(binned.shape[1]):
            total, count = zero, 0
            for dy in range(BIN):
                for dx in range(BIN):
                    y, x = row * BIN + dy, column * BIN + dx
                    good = (flags[y, x] & bits) == 0
                    total += data[y, x] if good else zero
                    count += good
            usable[row, column] = 2 * count >= BIN * BIN
            binned[row, column] = total / np.float32(max(count, 1))


@numba.njit(nogil=True, cache=True)
def component_shapes(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return (count + 1, 5): area, least and greatest row, least and greatest column of each component."""
    shapes = np.zeros((count + 1, 5), np.int64)
    shapes[:, 1] = shapes[:, 3] = labels.size
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label:
                shape = shapes[label]
                shape[0] += 1
                shape[1], shape[2] = min(shape[1], y), max(shape[2], y)
                shape[3], shape[4] = min(shape[3], x), max(shape[4], x)
    return shapes


@numba.njit(nogil=True, cache=True)
def vote(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    cosines: NDArray[np.float32],
    sines: NDArray[np.float32],
    reach: float,
    width: float,
    votes: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    """Count in rows of ``votes`` the points on each line x cos + y sin = rho (Duda & Hart 1972).

    rho runs from -``reach`` in steps of ``width``.
    """
    for angle in range(start, stop):
        row = votes[angle]
        c, s = cosines[angle] / np.float32(width), sines[angle] / np.float32(width)
        origin = np.float32(reach / width)
        for point in range(x.size):
            row[int(x[point] * c + y[point] * s + origin)] += 1


@numba.njit(nogil=True, cache=True)
def sample_across(
    image: NDArray[np.float32],
    begin: tuple[float, float],
    direction: tuple[float, float],
    steps: int,
    stride: float,
    half: int,
) -> NDArray[np.float32]:
    """Return (steps, 2 half + 1): the pixels nearest to places along a line and across it, NaN outside.

    ``begin`` and the unit vector ``direction`` are (x, y).
    """
    ny, nx = image.shape
    samples = np.full((steps, 2 * half + 1), np.nan, np.float32)
    ux, uy = direction
    for step in range(steps):
        for column in range(2 * half + 1):
            across = column - half
            x = round(begin[0] + step * stride * ux - across * uy)
            y = round(begin[1] + step * stride * uy + across * ux)
            if 0 <= x < nx and 0 <= y < ny:
                samples[step, column] = image[y, x]
    return samples


@numba.njit(nogil=True, cache=True)
def draw_band(
    mask: NDArray[np.bool_],
    begin: tuple[float, float],
    direction: tuple[float, float],
    length: float,
    low: float,
    high: float,
) -> None:
    """Set the pixels beside a piece of a line, from ``low`` to ``high`` across it."""
    ny, nx = mask.shape
    ux, uy = direction
    reach = max(abs(low), abs(high)) + 1
    steep = abs(uy) > abs(ux)
    major, minor = (uy, ux) if steep else (ux, uy)
    first, other = (begin[1], begin[0]) if steep else (begin[0], begin[1])
    # two numbers, put in order by hand: a sorted list takes five seconds to compile
    last = first + length * major
    low_end, high_end = min(first, last), max(first, last)
    limit = ny if steep else nx
    spread = int(np.ceil(reach / abs(major)))
    for along in range(max(0, int(low_end - reach)), min(limit, int(high_end + reach) + 2)):
        middle = round(other + (along - first) / major * minor)
        for place in range(middle - spread, middle + spread + 1):
            x, y = (place, along) if steep else (along, place)
            if not (0 <= x < nx and 0 <= y < ny):
                continue
            dx, dy = x - begin[0], y - begin[1]
            t, across = dx * ux + dy * uy, dy * ux - dx * uy
            if -0.5 <= t <= length + 0.5 and low <= across <= high:
                mask[y, x] = True
