"""Density-based clusters (DBSCAN; Ester et al. 1996, KDD-96, 226), in memory that does not grow with density.

A star on a thousand frames has a million pairs of neighbours, a field of them more than fits into memory. So
neighbours are counted first and linked piece by piece. Which of several clusters an edge point belongs to is
left to the order of the points by the paper; here it is the one of its nearest core point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

__all__ = ["NOISE", "dbscan"]

NOISE = -1
_PAIRS_AT_ONCE = 4_000_000


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
    tree = cKDTree(points)
    counts = tree.query_ball_point(points, radius, return_length=True)
    core = np.flatnonzero(counts >= least)
    if not len(core):
        return labels
    core_tree = cKDTree(points[core])
    labels[core] = _linked(points[core], core_tree, counts[core], radius)
    edge = np.flatnonzero(counts < least)
    distance, nearest = core_tree.query(points[edge])
    near = distance <= radius
    labels[edge[near]] = labels[core[nearest[near]]]
    return labels


def _linked(
    points: NDArray[np.float64], tree: cKDTree, counts: NDArray[np.integer], radius: float
) -> NDArray[np.intp]:
    """Return the component of each core point, components numbered by their first point."""
    labels = np.arange(len(points))
    piece = np.cumsum(counts) // _PAIRS_AT_ONCE
    for number in np.unique(piece):
        rows = np.flatnonzero(piece == number)
        pairs = cKDTree(points[rows]).sparse_distance_matrix(tree, radius, output_type="ndarray")
        edges = np.ones(len(pairs), bool), (labels[rows[pairs["i"]]], labels[pairs["j"]])
        graph = coo_array(edges, shape=(len(points), len(points)))
        labels = connected_components(graph, directed=False)[1][labels]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.intp)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse]
