"""Density-based clusters (DBSCAN; Ester et al. 1996, KDD-96, 226), nearly linear in time and memory.

A star on a thousand frames has a million pairs of neighbours, so that no pairs of points are made. Space is
cut into cells no wider than the radius (Gunawan 2013, TU Eindhoven; Gan & Tao 2015, SIGMOD, 519): the points
of one cell are all neighbours, and only what lies in cells next to each other is compared. Which of several
clusters an edge point belongs to is left to the order of the points by the paper; here it is the one of its
nearest core point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

__all__ = ["NOISE", "dbscan"]

NOISE = -1
_MARGIN = 1e-9
"""By which cells are narrower, and what is looked at wider, than it need be: for rounding."""
_LARGEST_KEY = 1 << 62


def dbscan(points: NDArray[np.float64], radius: float, least: int | NDArray[np.integer]) -> NDArray[np.intp]:
    """Return the cluster of each point.

    Parameters
    ----------
    points : ndarray of float64, shape (n, d)
    radius : float
        Distance of neighbours, the same unit; its end counts.
    least : int or ndarray of int, shape (n,)
        Neighbours, the point itself included, that make a point the core of a cluster.

    Returns
    -------
    ndarray of intp, shape (n,)
        From 0, in the order of each cluster's first core point; `NOISE` for points without a cluster.
    """
    labels = np.full(len(points), NOISE, np.intp)
    if not len(points):
        return labels
    cells = _Cells.of(points, radius)
    core = _core(points, cells, radius, np.broadcast_to(np.asarray(least), (len(points),)))
    if not core.any():
        return labels
    labels[core] = _linked(points, cells, core, radius)[cells.of_point[core]]
    labels[core] = _by_first(labels[core])
    edge = np.flatnonzero(~core)
    near = np.flatnonzero(core & cells.beside(edge)[cells.of_point])
    if len(edge) and len(near):
        distance, nearest = cKDTree(points[near]).query(points[edge])
        close = distance <= radius
        labels[edge[close]] = labels[near[nearest[close]]]
    return labels


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Cells that hold points: ``of_point`` (n,) says in which each lies, ``count`` (m,) how many are in each.

    ``pairs`` (k, 2) are the cells that may hold neighbours of each other.
    """

    of_point: NDArray[np.intp]
    count: NDArray[np.intp]
    pairs: NDArray[np.intp]

    @classmethod
    def of(cls, points: NDArray[np.float64], radius: float) -> _Cells:
        dimensions = points.shape[1]
        side = radius / np.sqrt(dimensions) * (1.0 - _MARGIN)
        key = np.zeros(len(points), np.int64)
        extent = 1
        for axis in range(dimensions):
            number = _numbers(points[:, axis], side)
            width = int(number.max()) + 1
            if extent * width >= _LARGEST_KEY:
                key = np.unique(key, return_inverse=True)[1].astype(np.int64)
                extent = len(points)
            key = key * width + number
            extent *= width
        _, first, inverse, count = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
        middle = np.column_stack(
            [(_numbers(points[:, axis], side)[first] + 0.5) * side for axis in range(dimensions)]
        )
        # From any point of a cell to its middle it is half of the radius.
        pairs = cKDTree(middle).query_pairs(2.0 * radius * (1.0 + _MARGIN), output_type="ndarray")
        return cls(of_point=inverse, count=count, pairs=pairs)

    def beside(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which cells may hold neighbours of these points, shape (m,)."""
        own = np.zeros(len(self.count), bool)
        own[self.of_point[rows]] = True
        near = own.copy()
        near[self.pairs[own[self.pairs[:, 0]], 1]] = True
        near[self.pairs[own[self.pairs[:, 1]], 0]] = True
        return near


def _numbers(values: NDArray[np.float64], side: float) -> NDArray[np.int64]:
    return np.floor((values - values.min()) / side).astype(np.int64)


def _core(
    points: NDArray[np.float64], cells: _Cells, radius: float, least: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Return which points have enough neighbours: at once where their own cell holds enough."""
    core = cells.count[cells.of_point] >= least
    open_ = np.flatnonzero(~core)
    if len(open_):
        near = np.flatnonzero(cells.beside(open_)[cells.of_point])
        tree = cKDTree(points[near])
        core[open_] = tree.query_ball_point(points[open_], radius, return_length=True) >= least[open_]
    return core


def _linked(
    points: NDArray[np.float64], cells: _Cells, core: NDArray[np.bool_], radius: float
) -> NDArray[np.intp]:
    """Return the component of each cell: linked are those with core points within the radius."""
    rows = np.flatnonzero(core)
    rows = rows[np.argsort(cells.of_point[rows], kind="stable")]
    bounds = np.searchsorted(cells.of_point[rows], np.arange(len(cells.count) + 1))
    filled = np.diff(bounds) > 0
    pairs = cells.pairs[filled[cells.pairs].all(axis=1)]
    low, high = _boxes(points, rows, bounds, filled)
    pairs = pairs[_gap(low, high, pairs) <= radius * (1.0 + _MARGIN)]
    # Mostly any two points of two cells of one star tell; where they do not, all are looked at.
    some = np.full(len(filled), -1, np.intp)
    some[filled] = rows[bounds[:-1][filled]]
    linked = np.linalg.norm(points[some[pairs[:, 0]]] - points[some[pairs[:, 1]]], axis=1) <= radius
    component = _components(pairs[linked], len(filled))
    undecided = pairs[~linked]
    undecided = undecided[component[undecided[:, 0]] != component[undecided[:, 1]]]
    more = [
        _touch(points[rows[bounds[a] : bounds[a + 1]]], points[rows[bounds[b] : bounds[b + 1]]], radius)
        for a, b in undecided.tolist()
    ]
    touching = undecided[np.array(more, bool)]
    return _components(np.concatenate([pairs[linked], touching]), len(filled))


def _boxes(
    points: NDArray[np.float64],
    rows: NDArray[np.intp],
    bounds: NDArray[np.intp],
    filled: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest coordinates of the core points of each cell, shape (m, d)."""
    low = np.full((len(filled), points.shape[1]), np.nan)
    high = low.copy()
    for axis in range(points.shape[1]):
        values = points[rows, axis]
        low[filled, axis] = np.minimum.reduceat(values, bounds[:-1][filled])
        high[filled, axis] = np.maximum.reduceat(values, bounds[:-1][filled])
    return low, high


def _gap(low: NDArray[np.float64], high: NDArray[np.float64], pairs: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the distance between the boxes of two cells."""
    first, second = pairs.T
    apart = np.maximum(low[first] - high[second], low[second] - high[first])
    return np.asarray(np.linalg.norm(np.maximum(apart, 0.0), axis=1))


def _touch(one: NDArray[np.float64], other: NDArray[np.float64], radius: float) -> bool:
    """Return whether two points of two sets are no farther apart than the radius."""
    if len(one) > len(other):
        one, other = other, one
    distance, _ = cKDTree(other).query(one)
    return bool((distance <= radius).any())


def _components(pairs: NDArray[np.intp], number: int) -> NDArray[np.intp]:
    edges = np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])
    graph = coo_array(edges, shape=(number, number))
    return np.asarray(connected_components(graph, directed=False)[1], np.intp)


def _by_first(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the labels, numbered by their first point."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.intp)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse]
