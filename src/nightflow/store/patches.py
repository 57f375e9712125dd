"""Pieces of a field on the sky, each small enough to be judged at once.

Fields that overlap their neighbours are one field, and a survey may chain thousands of them. What ties the
frames of all of them together costs the cube of their stars, and what is said of their sources has no room in
memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["MOST_POINTINGS", "MOST_SOURCES", "SAME_POINTING", "SkyFrames", "sky_patches"]

MOST_POINTINGS = 40
"""Of one camera with one filter that reach to a patch, where it is not a small part of a frame already."""
MOST_SOURCES = 50_000
"""Of a patch."""
SAME_POINTING = 0.5
"""Of the distance from a frame's middle to its corner."""


@dataclass(frozen=True, kw_only=True)
class SkyFrames:
    """Where frames look; columns of equal length n.

    Attributes
    ----------
    center : ndarray of float64, shape (n, 3)
        Unit vectors of their middles.
    radius : ndarray of float64, shape (n,)
        Distance from the middle to a corner, as a chord of the unit sphere.
    camera, chip : ndarray of intp, shape (n,)
        Numbers of the camera with its filter, and of the chip.
    """

    center: NDArray[np.float64]
    radius: NDArray[np.float64]
    camera: NDArray[np.intp]
    chip: NDArray[np.intp]

    def reaching(
        self, places: NDArray[np.float64], among: NDArray[np.intp] | None = None
    ) -> NDArray[np.intp]:
        """Return which frames, of some or of all, reach to one of these places (unit vectors)."""
        some = np.arange(len(self.radius)) if among is None else among
        if not len(places) or not len(some):
            return np.empty(0, np.intp)
        return some[cKDTree(places).query(self.center[some])[0] <= self.radius[some]]

    def pointings(self, frames: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return camera, chip and piece of the sky of each of these frames, shape (n, 5).

        The pieces are as large as half a frame: where one pointing falls into two, their stars are the same.
        """
        size = SAME_POINTING * float(np.median(self.radius[frames]))
        cells = np.floor(self.center[frames] / size)
        return np.column_stack([self.camera[frames], self.chip[frames], cells]).astype(np.int64)

    def most_pointings(self, frames: NDArray[np.intp]) -> int:
        """Return how many pointings the camera with most of them has among these frames."""
        if not len(frames):
            return 0
        return int(np.bincount(np.unique(self.pointings(frames), axis=0)[:, 0]).max())


def sky_patches(
    places: NDArray[np.float64],
    frames: SkyFrames,
    *,
    most_pointings: int = MOST_POINTINGS,
    most_sources: int = MOST_SOURCES,
) -> list[NDArray[np.intp]]:
    """Return the sources of a field, split where too many pointings reach to them or they are too many.

    A frame that reaches to two patches counts in both, so that no source at a border loses measurements.

    Parameters
    ----------
    places : ndarray of float64, shape (n, 3)
        Unit vectors of the sources.
    frames : SkyFrames
        All that may reach to them.
    most_pointings : int
        Of one camera, beyond which a patch is halved, as long as it is larger than from the middle of a
        frame to its corner.
    most_sources : int
        Beyond which it is halved, whatever its size.

    Returns
    -------
    list of ndarray of intp
        Rows of ``places``, each in one patch. They do not depend on the order of the frames.
    """
    patches = []
    left = [(np.arange(len(places)), frames.reaching(places))]
    while left:
        rows, near = left.pop()
        extent = np.ptp(places[rows], axis=0) if len(rows) else np.zeros(3)
        wide = len(near) > 0 and float(extent.max()) > float(np.median(frames.radius[near]))
        if len(rows) <= most_sources and not (wide and frames.most_pointings(near) > most_pointings):
            patches.append(rows)
            continue
        order = rows[np.argsort(places[rows, int(np.argmax(extent))], kind="stable")]
        for half in (order[len(order) // 2 :], order[: len(order) // 2]):
            left.append((np.sort(half), frames.reaching(places[half], near)))
    return patches
