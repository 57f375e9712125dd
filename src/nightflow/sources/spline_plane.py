"""A plane through the middles of boxes: natural bicubic splines, which go on beyond the outer ones."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from nightflow.parallel import in_bands

__all__ = ["spline_plane"]


def spline_plane(mesh: NDArray[np.float64], box: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the natural bicubic spline through a mesh at each pixel.

    Parameters
    ----------
    mesh : ndarray of float64, shape (rows of boxes, boxes in a row)
    box : int
        Side of a box in pixels.
    shape : tuple of int
        Of the plane.
    """
    plane = np.empty(shape, np.float32)
    if mesh.shape[0] > 1:
        mesh = CubicSpline(np.arange(len(mesh)), mesh, bc_type="natural")(_places(shape[0], box))
    else:
        mesh = np.repeat(mesh, shape[0], axis=0)
    if mesh.shape[1] == 1:
        plane[:] = mesh
        return plane
    # Second derivatives at the middles follow from the values there by one and the same matrix.
    middles = np.arange(mesh.shape[1])
    bends = mesh @ CubicSpline(middles, np.eye(len(middles)), bc_type="natural")(middles, 2).T / 6
    places = _places(shape[1], box)
    cell = np.clip(places.astype(np.int64), 0, mesh.shape[1] - 2)
    share = (places - cell).astype(np.float32)
    starts = np.append(np.flatnonzero(np.diff(cell, prepend=-1)), shape[1])
    nodes, curves = mesh.astype(np.float32), bends.astype(np.float32)
    in_bands(lambda start, stop: _fill(nodes, curves, starts, share, plane, start, stop), shape[0])
    return plane


def _places(length: int, box: int) -> NDArray[np.float64]:
    """Return where pixels are, in boxes from the middle of the first."""
    return (np.arange(length) + 0.5) / box - 0.5


@numba.njit(nogil=True, cache=True)
def _fill(
    nodes: NDArray[np.float32],
    curves: NDArray[np.float32],
    starts: NDArray[np.int64],
    share: NDArray[np.float32],
    plane: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    one = np.float32(1)
    right = share * share * share - share
    left = (one - share) ** 3 - (one - share)
    for y in range(start, stop):
        line = plane[y]
        for cell in range(starts.size - 1):
            a, b = nodes[y, cell], nodes[y, cell + 1]
            bend_a, bend_b = curves[y, cell], curves[y, cell + 1]
            inside = slice(starts[cell], starts[cell + 1])
            out, far, near_bend, far_bend = line[inside], share[inside], left[inside], right[inside]
            for x in range(out.size):
                out[x] = a + far[x] * (b - a) + near_bend[x] * bend_a + far_bend[x] * bend_b
