"""The loops over pixels of PSF photometry.

An effective PSF (Anderson & King 2000, PASP 112, 1360) is the light that a pixel gets, as a function of its
place from the star: no pixel is integrated over. Here it is a cubic B-spline on a grid that is a whole number
of times finer than the pixels, so that all pixels of one star share the weights of the spline.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "accumulate", "fill_stamps", "local_variances", "normal_blocks", "paint", "polynomial_terms", "predict",
]  # fmt: skip

Array = NDArray[np.float64]


@njit(nogil=True, cache=True, error_model="numpy")
def polynomial_terms(x: float, y: float, shape: tuple[int, int], terms: Array) -> None:
    """Write 1, X, Y, X^2, XY, Y^2, (X^2 + Y^2)^2, as far as ``terms`` is long.

    X and Y go from -1 to 1 over the frame.
    """
    across = 2.0 * x / max(shape[1] - 1, 1) - 1.0
    up = 2.0 * y / max(shape[0] - 1, 1) - 1.0
    terms[0] = 1.0
    if len(terms) > 1:
        terms[1], terms[2] = across, up
    if len(terms) > 3:
        terms[3], terms[4], terms[5] = across * across, across * up, up * up
    if len(terms) > 6:
        terms[6] = (across * across + up * up) ** 2


@njit(nogil=True, cache=True, error_model="numpy")
def _combine(coefficients: Array, terms: Array, table: Array) -> None:
    """Write the spline coefficients at one place of the frame."""
    flat = table.reshape(-1)
    flat[:] = terms[0] * coefficients[0].reshape(-1)
    for term in range(1, len(terms)):
        source, factor = coefficients[term].reshape(-1), terms[term]
        for node in range(len(flat)):
            flat[node] += factor * source[node]


@njit(nogil=True, cache=True, error_model="numpy")
def _spline(t: float, weights: Array) -> None:
    """Write the four weights of a cubic B-spline at 0 <= t < 1 between its two middle nodes."""
    rest = 1.0 - t
    weights[0] = rest * rest * rest / 6.0
    weights[1] = (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0
    weights[2] = (3.0 * rest * rest * rest - 6.0 * rest * rest + 4.0) / 6.0
    weights[3] = t * t * t / 6.0


@njit(nogil=True, cache=True, error_model="numpy")
def _slope(t: float, weights: Array) -> None:
    """Write the derivatives of those weights."""
    rest = 1.0 - t
    weights[0] = -0.5 * rest * rest
    weights[1] = 1.5 * t * t - 2.0 * t
    weights[2] = -1.5 * rest * rest + 2.0 * rest
    weights[3] = 0.5 * t * t


@njit(nogil=True, cache=True, error_model="numpy")
def _node(pixel: int, place: float, oversampling: int, half: int) -> tuple[int, float]:
    """Return the first of the four nodes around a pixel of a star, and the fraction between the middle
    ones.
    """
    at = (pixel - place) * oversampling + half
    lower = math.floor(at)
    return int(lower) - 1, at - lower


@njit(nogil=True, cache=True, error_model="numpy")
def _across_rows(table: Array, row: int, column: int, count: int, down: Array, line: Array) -> None:
    """Write the spline along y, on ``count`` columns of nodes from ``column`` on."""
    # Slices that start at 0, so that the compiler need not look for negative indices.
    first, second = table[row, column : column + count], table[row + 1, column : column + count]
    third, last = table[row + 2, column : column + count], table[row + 3, column : column + count]
    for i in range(count):
        line[i] = down[0] * first[i] + down[1] * second[i] + down[2] * third[i] + down[3] * last[i]


@njit(nogil=True, cache=True, error_model="numpy")
def _along(line: Array, at: int, across: Array) -> float:
    """Return the spline along x, from what `_across_rows` wrote."""
    return (
        across[0] * line[at] + across[1] * line[at + 1] + across[2] * line[at + 2] + across[3] * line[at + 3]
    )


@njit(nogil=True, cache=True, error_model="numpy")
def paint(
    image: Array,
    x: Array,
    y: Array,
    flux: Array,
    coefficients: Array,
    norms: Array,
    oversampling: int,
    radius: float,
    shape: tuple[int, int],
) -> None:
    """Add stars to an image, out to ``radius`` pixels.

    ``norms`` are what the terms of the PSF hold inside the aperture: the PSF at a place is divided by their
    sum there. ``shape`` is the frame's, by which places are scaled; the image may be a part of it.
    """
    terms, table = np.empty(len(norms)), np.empty_like(coefficients[0])
    down, across, line = np.empty(4), np.empty(4), np.empty(table.shape[1])
    half = table.shape[0] // 2
    for star in range(len(x)):
        polynomial_terms(x[star], y[star], shape, terms)
        _combine(coefficients, terms, table)
        scale = flux[star] / (terms * norms).sum()
        first, stop = (
            max(0, math.ceil(x[star] - radius)),
            min(image.shape[1], math.floor(x[star] + radius) + 1),
        )
        low, high = max(0, math.ceil(y[star] - radius)), min(image.shape[0], math.floor(y[star] + radius) + 1)
        if first >= stop or low >= high:
            continue
        column0, t = _node(first, x[star], oversampling, half)
        _spline(t, across)
        row0, t = _node(low, y[star], oversampling, half)
        _spline(t, down)
        for row in range(low, high):
            room = radius * radius - (row - y[star]) ** 2
            nodes = (stop - first - 1) * oversampling + 4
            _across_rows(table, row0 + (row - low) * oversampling, column0, nodes, down, line)
            width = math.sqrt(max(room, 0.0))
            left, right = max(first, math.ceil(x[star] - width)), min(stop - 1, math.floor(x[star] + width))
            for column in range(left, right + 1):
                image[row, column] += scale * _along(line, (column - first) * oversampling, across)


@njit(nogil=True, cache=True, error_model="numpy")
def fill_stamps(
    data: NDArray[np.float32],
    noise: NDArray[np.float32],
    least: float,
    model: Array,
    x: Array,
    y: Array,
    corner: NDArray[np.intp],
    coefficients: Array,
    norms: Array,
    oversampling: int,
    radius: float,
    design: Array,
    weight: Array,
    residual: Array,
) -> None:
    """Write what a least-squares step needs of the pixels within ``radius`` of each star.

    Parameters
    ----------
    data, noise : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons, and the variance without the sources' own light; not finite where a
        pixel must not count.
    least : float
        No variance is below it, electrons squared.
    model : ndarray of float64, shape (ny, nx)
        All stars as they are known now.
    x, y : ndarray of float64, shape (n,)
    corner : ndarray of int, shape (n, 2)
        First row and column of each stamp.
    design : ndarray of float64, shape (n, 3, size, size)
        Out: the PSF, and minus its slopes along x and y.
    weight, residual : ndarray of float64, shape (n, size, size)
        Out: 1 / variance, data minus model; 0 where a pixel does not count.
    """
    terms, table = np.empty(len(norms)), np.empty_like(coefficients[0])
    down, across = np.empty(4), np.empty(4)
    down_slope, across_slope = np.empty(4), np.empty(4)
    half, size = table.shape[0] // 2, design.shape[2]
    nodes = (size - 1) * oversampling + 4
    line, line_slope = np.empty(nodes), np.empty(nodes)
    design[:], weight[:], residual[:] = 0.0, 0.0, 0.0
    for star in range(len(x)):
        polynomial_terms(x[star], y[star], data.shape, terms)
        _combine(coefficients, terms, table)
        scale = 1.0 / (terms * norms).sum()
        # Where the star moves to the right, the place in it of a pixel moves to the left.
        slope = -scale * oversampling
        column0, t = _node(corner[star, 1], x[star], oversampling, half)
        _spline(t, across)
        _slope(t, across_slope)
        row0, t = _node(corner[star, 0], y[star], oversampling, half)
        _spline(t, down)
        _slope(t, down_slope)
        for i in range(size):
            row = corner[star, 0] + i
            room = radius * radius - (row - y[star]) ** 2
            _across_rows(table, row0 + i * oversampling, column0, nodes, down, line)
            _across_rows(table, row0 + i * oversampling, column0, nodes, down_slope, line_slope)
            for j in range(size):
                column = corner[star, 1] + j
                if (column - x[star]) ** 2 > room:
                    continue
                at = j * oversampling
                design[star, 0, i, j] = scale * _along(line, at, across)
                if not (0 <= row < data.shape[0] and 0 <= column < data.shape[1]):
                    continue
                if not math.isfinite(noise[row, column]):
                    continue
                design[star, 1, i, j] = slope * _along(line, at, across_slope)
                design[star, 2, i, j] = slope * _along(line_slope, at, across)
                weight[star, i, j] = 1.0 / max(noise[row, column] + model[row, column], least)
                residual[star, i, j] = data[row, column] - model[row, column]


@njit(nogil=True, cache=True, error_model="numpy")
def normal_blocks(
    design: Array,
    weight: Array,
    residual: Array,
    corner: NDArray[np.intp],
    pairs: NDArray[np.intp],
    own: Array,
    right: Array,
    between: Array,
) -> None:
    """Write the blocks of the normal matrix and its right side.

    Parameters
    ----------
    design, weight, residual, corner
        As `fill_stamps` has them.
    pairs : ndarray of int, shape (m, 2)
        Stars whose stamps may share pixels.
    own : ndarray of float64, shape (n, 3, 3)
        Out: each star with itself.
    right : ndarray of float64, shape (n, 3)
        Out.
    between : ndarray of float64, shape (m, 3, 3)
        Out: the first star of a pair with the second.
    """
    size = design.shape[2]
    own[:], right[:], between[:] = 0.0, 0.0, 0.0
    for star in range(len(design)):
        for i in range(size):
            for j in range(size):
                w = weight[star, i, j]
                for a in range(3):
                    value = w * design[star, a, i, j]
                    right[star, a] += value * residual[star, i, j]
                    for b in range(3):
                        own[star, a, b] += value * design[star, b, i, j]
    for pair in range(len(pairs)):
        one, other = pairs[pair]
        # A pixel (i, j) of the first stamp is (i + rows, j + columns) of the second.
        rows, columns = corner[one, 0] - corner[other, 0], corner[one, 1] - corner[other, 1]
        for i in range(max(0, -rows), min(size, size - rows)):
            for j in range(max(0, -columns), min(size, size - columns)):
                w = weight[one, i, j]
                for a in range(3):
                    value = w * design[one, a, i, j]
                    for b in range(3):
                        between[pair, a, b] += value * design[other, b, i + rows, j + columns]


@njit(nogil=True, cache=True, error_model="numpy")
def _put(matrix: Array, i: int, j: int, block: Array) -> None:
    """Let a block of a matrix of blocks be this one."""
    for a in range(3):
        for b in range(3):
            matrix[3 * i + a, 3 * j + b] = block[a, b]


@njit(nogil=True, cache=True, error_model="numpy")
def local_variances(
    own: Array, between: Array, start: NDArray[np.intp], other: NDArray[np.intp], pair: NDArray[np.intp]
) -> Array:
    """Return the variances of flux, x and y of each star, shape (n, 3), those of its neighbours free.

    The matrix of a star and of all whose pixels it shares is inverted. Who shares none is taken as known:
    such a star acts on this one only through a third, and that is in the matrix with its own variance.

    Parameters
    ----------
    own, between
        As `normal_blocks` has them.
    start : ndarray of int, shape (n + 1,)
        Where the neighbours of each star begin in ``other`` and ``pair``.
    other, pair : ndarray of int
        The neighbour, ascending for each star, and the number of the pair that the two are: those whose first
        is the neighbour are counted from -1 downwards.
    """
    variances = np.full((len(own), 3), np.nan)
    for star in range(len(own)):
        members = np.empty(start[star + 1] - start[star] + 1, np.intp)
        members[0] = star
        for k in range(1, len(members)):  # one by one, as below: slices and `where` take seconds to compile
            members[k] = other[start[star] + k - 1]
        matrix = np.zeros((3 * len(members), 3 * len(members)))
        for i in range(len(members)):
            _put(matrix, i, i, own[members[i]])
            first, stop = start[members[i]], start[members[i] + 1]
            for j in range(len(members)):
                at = first + np.searchsorted(other[first:stop], members[j])
                if at < stop and other[at] == members[j]:
                    number = pair[at]
                    _put(matrix, i, j, between[number] if number >= 0 else between[-1 - number].T)
        scale = np.sqrt(np.diag(matrix))
        if scale[0] > 0:
            for k in range(len(scale)):
                scale[k] = scale[k] if scale[k] > 0 else 1.0
            matrix = matrix / scale / scale.reshape(-1, 1)
            # Two stars at one place would make it singular.
            for i in range(len(matrix)):
                matrix[i, i] += 1e-9
            inverse = np.linalg.inv(matrix)
            for a in range(3):
                variances[star, a] = inverse[a, a] / scale[a] ** 2
    return variances


@njit(nogil=True, cache=True, error_model="numpy")
def predict(
    coefficients: Array,
    terms: Array,
    x: Array,
    y: Array,
    corner: NDArray[np.intp],
    oversampling: int,
    size: int,
) -> Array:
    """Return the spline at the pixels of stamps, shape (n, size, size); ``terms`` has shape (n, n_terms)."""
    out = np.empty((len(x), size, size))
    table, down, across = np.empty_like(coefficients[0]), np.empty(4), np.empty(4)
    half, nodes = table.shape[0] // 2, (size - 1) * oversampling + 4
    line = np.empty(nodes)
    for star in range(len(x)):
        _combine(coefficients, terms[star], table)
        column0, t = _node(corner[star, 1], x[star], oversampling, half)
        _spline(t, across)
        row0, t = _node(corner[star, 0], y[star], oversampling, half)
        _spline(t, down)
        for i in range(size):
            _across_rows(table, row0 + i * oversampling, column0, nodes, down, line)
            for j in range(size):
                out[star, i, j] = _along(line, j * oversampling, across)
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def accumulate(
    values: Array,
    terms: Array,
    x: Array,
    y: Array,
    corner: NDArray[np.intp],
    oversampling: int,
    nodes: int,
) -> Array:
    """Return what `predict` is the transpose of: values of pixels summed up on the nodes of the spline."""
    size = values.shape[1]
    total = np.zeros((terms.shape[1], nodes, nodes))
    table, down, across = np.empty((nodes, nodes)), np.empty(4), np.empty(4)
    half, reach = nodes // 2, (size - 1) * oversampling + 4
    line, flat = np.empty(reach), table.reshape(-1)
    for star in range(len(x)):
        table[:] = 0.0
        column0, t = _node(corner[star, 1], x[star], oversampling, half)
        _spline(t, across)
        row0, t = _node(corner[star, 0], y[star], oversampling, half)
        _spline(t, down)
        for i in range(size):
            line[:] = 0.0
            for j in range(size):
                for k in range(4):
                    line[j * oversampling + k] += values[star, i, j] * across[k]
            for k in range(4):
                target = table[row0 + i * oversampling + k, column0 : column0 + reach]
                for j in range(reach):
                    target[j] += down[k] * line[j]
        for term in range(terms.shape[1]):
            sums, factor = total[term].reshape(-1), terms[star, term]
            for node in range(len(flat)):
                sums[node] += factor * flat[node]
    return total
