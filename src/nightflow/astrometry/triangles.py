"""Triangles of stars, coded so that similar ones have the same code.

A triangle is coded by its third vertex in the frame in which the longest side runs from 0 to 1, as
in Valdes et al. 1995 (PASP 107, 1119) and Lang et al. 2010 (AJ 139, 1782) for four stars. The size
and the sense of rotation are kept beside the code: where the scale is known they sort out most
false matches at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["Triangles", "make_triangles", "match_triangles"]

_CODE_FLOOR = 0.002
_TOO_FLAT = 0.05


@dataclass(frozen=True, kw_only=True)
class Triangles:
    """Triangles over a list of points.

    Attributes
    ----------
    vertices : ndarray of int, shape (n, 3)
        Points A, B, C; AB is the longest side and C is nearer to A.
    code : ndarray, shape (n, 2)
        C in the frame of AB; the second coordinate without its sign.
    sense : ndarray, shape (n,)
        That sign: +1 or -1.
    size : ndarray, shape (n,)
        Length of AB.
    """

    vertices: NDArray[np.intp]
    code: NDArray[np.float64]
    sense: NDArray[np.float64]
    size: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.size)


def make_triangles(
    points: NDArray[np.complex128],
    *,
    shortest: float,
    longest: float,
    check: Callable[[], None] = lambda: None,
) -> Triangles:
    """Return all triangles whose longest side is between ``shortest`` and ``longest``.

    Parameters
    ----------
    points : ndarray of complex, shape (n,)
        Positions, x + i y.
    check : callable
        Called once a star; may raise to end the work.
    """
    adjacent = np.abs(points[:, None] - points[None, :]) <= longest
    parts = [np.empty((0, 3), np.intp)]
    for i in range(len(points)):
        check()
        neighbours = i + 1 + np.flatnonzero(adjacent[i, i + 1 :])
        first, second = np.nonzero(np.triu(adjacent[np.ix_(neighbours, neighbours)], 1))
        if len(first):
            parts.append(np.column_stack([np.full(len(first), i), neighbours[first], neighbours[second]]))
    return _coded(points, np.concatenate(parts), shortest)


def match_triangles(
    image: Triangles, sky: Triangles, *, scale: float, scale_tolerance: float, position_error: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of similar triangles, in pairs.

    Parameters
    ----------
    image, sky : Triangles
        In pixels, and in the unit of the sky.
    scale : float
        Unit of the sky per pixel.
    scale_tolerance : float
        Relative, of the true scale in units of ``scale``; below 1.
    position_error : float
        Pixels by which a vertex may be off.
    """
    nothing = np.empty(0, np.intp)
    if not len(image) or not len(sky):
        return nothing, nothing
    tolerance = _CODE_FLOOR + position_error / image.size
    allowed = -np.log1p(-scale_tolerance) + position_error / image.size
    # the third coordinate is the size, stretched so that one radius serves for all three
    stretch = float(np.min(tolerance / allowed))
    sky_points = np.column_stack([sky.code, stretch * np.log(sky.size)])
    image_points = np.column_stack([image.code, stretch * np.log(image.size * scale)])
    tree = cKDTree(sky_points, balanced_tree=False, compact_nodes=False)
    hits = tree.query_ball_point(image_points, np.maximum(tolerance, stretch * allowed), p=np.inf)
    rows = np.repeat(np.arange(len(image)), [len(hit) for hit in hits])
    partners = np.concatenate([np.asarray(hit, np.intp) for hit in hits]) if len(rows) else nothing
    good = np.abs(np.log(sky.size[partners] / (image.size[rows] * scale))) <= allowed[rows]
    good &= np.all(np.abs(sky.code[partners] - image.code[rows]) <= tolerance[rows, None], axis=1)
    return rows[good], partners[good]


def _coded(points: NDArray[np.complex128], triples: NDArray[np.intp], shortest: float) -> Triangles:
    corners = points[triples]
    # side k lies opposite to vertex k
    sides = np.abs(corners[:, [1, 2, 0]] - corners[:, [2, 0, 1]])
    third = np.argmax(sides, axis=1)
    rows = np.arange(len(triples))
    a, b, c = triples[rows, (third + 1) % 3], triples[rows, (third + 2) % 3], triples[rows, third]
    swap = np.abs(points[c] - points[a]) > np.abs(points[c] - points[b])
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    size = np.abs(points[b] - points[a])
    with np.errstate(divide="ignore", invalid="ignore"):
        code = (points[c] - points[a]) / (points[b] - points[a])
    # flat triangles have no sense of rotation that noise could not turn round
    keep = (size >= shortest) & (np.abs(code.imag) >= _TOO_FLAT)
    return Triangles(
        vertices=np.column_stack([a, b, c])[keep],
        code=np.column_stack([code.real, np.abs(code.imag)])[keep],
        sense=np.sign(code.imag)[keep],
        size=size[keep],
    )
