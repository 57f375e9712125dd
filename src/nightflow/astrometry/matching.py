"""Pair detections with predicted positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["Shift", "mutual_pairs", "vote_shift"]

Array = NDArray[np.float64]


def mutual_pairs(seen: Array, predicted: Array, radius: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of ``seen`` and ``predicted`` that are each other's nearest within ``radius``.

    Parameters
    ----------
    seen, predicted : ndarray, shape (n, 2) and (m, 2)
        Pixels; all finite.
    radius : float
        Pixels.
    """
    nobody = np.empty(0, np.intp)
    if not len(seen) or not len(predicted):
        return nobody, nobody
    distance, nearest_seen = _tree(seen).query(predicted, distance_upper_bound=radius)
    rows = np.flatnonzero(np.isfinite(distance))
    if not len(rows):
        return nobody, nobody
    back = _tree(predicted).query(seen[nearest_seen[rows]], distance_upper_bound=radius)[1]
    rows = rows[back == rows]
    return nearest_seen[rows].astype(np.intp), rows.astype(np.intp)


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A translation and the stars that support it.

    Attributes
    ----------
    dx, dy : float
        Pixels, from predicted to seen.
    support : int
        Predicted stars with a detection there.
    runner_up : int
        Support of the best translation that is not a neighbour of this one.
    tried : int
        Translations compared.
    """

    dx: float
    dy: float
    support: int
    runner_up: int
    tried: int


def vote_shift(seen: Array, predicted: Array, *, limit: float, radius: float) -> Shift | None:
    """Return the translation of ``predicted`` that most detections support.

    Each pair of a prediction and a detection proposes a translation; the one with most others within
    ``radius`` of it wins, and its neighbours' mean is returned.

    Parameters
    ----------
    seen, predicted : ndarray, shape (n, 2) and (m, 2)
        Pixels.
    limit : float
        Longest translation, pixels.
    radius : float
        Pixels by which supporting pairs may differ.

    Returns
    -------
    Shift or None
        None where no pair is within ``limit``.
    """
    if not len(seen) or not len(predicted):
        return None
    star, detection = np.divmod(np.arange(len(predicted) * len(seen)), len(seen))
    offsets = seen[detection] - predicted[star]
    within = np.hypot(*offsets.T) <= limit
    offsets, star = offsets[within], star[within]
    if not len(offsets):
        return None
    neighbours = _tree(offsets).query_ball_point(offsets, radius)
    support = _support(neighbours, star)
    best = int(np.argmax(support))
    mean = offsets[neighbours[best]].mean(axis=0)
    far = np.hypot(*(offsets - mean).T) > 2.0 * radius
    return Shift(
        dx=float(mean[0]),
        dy=float(mean[1]),
        support=int(support[best]),
        runner_up=int(support[far].max(initial=0)),
        tried=len(offsets),
    )


def _support(neighbours: Sequence[list[int]], star: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return how many different stars each list of pairs holds."""
    owner = np.repeat(np.arange(len(neighbours)), [len(rows) for rows in neighbours])
    pairs = owner * (int(star.max()) + 1) + star[np.concatenate(list(neighbours))]
    return np.bincount(np.unique(pairs) // (int(star.max()) + 1), minlength=len(neighbours))


def _tree(points: Array) -> cKDTree:
    """Return a tree that is soon built: of some hundred points, asked once."""
    return cKDTree(points, balanced_tree=False, compact_nodes=False)
