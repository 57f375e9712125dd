"""The pieces of sky that the frames of a night cover: only frames that covered a place can have missed it.

A frame is a rectangle on its tangent plane, where great circles are straight lines: its four edges are planes
through the centre of the sphere, and a place is inside if it is on the inner side of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.sphere import unit_vectors

__all__ = ["Footprints", "footprints"]

_ARCSEC = float(np.radians(1.0 / 3600.0))
_SMALLEST_CELL = 2e-6
"""Radians; so that three cell numbers fit into one integer."""
_BITS = 21


@dataclass(frozen=True, kw_only=True)
class Footprints:
    """Rectangles on the sky, one a frame, in the order of the frames.

    Attributes
    ----------
    hours : ndarray of float64, shape (n_frames,)
        When each was taken, from the zero of the night's detections.
    center : ndarray of float64, shape (n_frames, 3)
        Unit vectors.
    radius : ndarray of float64, shape (n_frames,)
        From the centre to a corner, as distance of unit vectors.
    edges : ndarray of float64, shape (n_frames, 4, 3)
        Normals of the planes of the edges, inwards; of any length.
    """

    hours: NDArray[np.float64]
    center: NDArray[np.float64]
    radius: NDArray[np.float64]
    edges: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.hours)

    def covers(
        self, frame: NDArray[np.integer] | int | slice, vectors: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return whether frames hold places.

        Parameters
        ----------
        frame : int, slice, or ndarray of int, shape (n,)
            One frame for all places, or one for each.
        vectors : ndarray of float64, shape (n, 3) or (3,)
            Towards the places, of any length.
        """
        return np.asarray((np.einsum("...ij,...j->...i", self.edges[frame], vectors) >= 0.0).all(axis=-1))

    def meets(self, frame: int) -> NDArray[np.intp]:
        """Return the frames, this one among them, whose circles touch that of a frame, ascending."""
        apart = np.linalg.norm(self.center - self.center[frame], axis=1)
        return np.flatnonzero(apart <= self.radius + self.radius[frame])

    def count(self, vectors: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return how many frames cover each of these places, shape (n,).

        Parameters
        ----------
        vectors : ndarray of float64, shape (n, 3)
            Unit vectors.
        """
        number = np.zeros(len(vectors), np.intp)
        tree = cKDTree(vectors)
        for frame in range(len(self)):
            near = np.array(tree.query_ball_point(self.center[frame], self.radius[frame]), np.intp)
            number[near[self.covers(frame, vectors[near])]] += 1
        return number

    def coverage(self, ra: NDArray[np.floating], dec: NDArray[np.floating], cell: float) -> NDArray[np.intp]:
        """Return how many frames cover each of many places, shape (n,); one answer for those of a cell.

        So it takes the time of the cells: a star that was seen a thousand times is asked for once.

        Parameters
        ----------
        ra, dec : ndarray of float, shape (n,)
            ICRS degrees.
        cell : float
            Side of a cell, arcsec.
        """
        vectors = unit_vectors(ra, dec)
        numbers = ((vectors + 1.0) / max(cell * _ARCSEC, _SMALLEST_CELL)).astype(np.int64)
        key = (numbers[:, 0] << 2 * _BITS) | (numbers[:, 1] << _BITS) | numbers[:, 2]
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        return self.count(vectors[first])[inverse]


def footprints(
    hours: NDArray[np.floating],
    ra: NDArray[np.floating],
    dec: NDArray[np.floating],
    rotation: NDArray[np.floating],
    height: NDArray[np.floating],
    width: NDArray[np.floating],
) -> Footprints:
    """Return what frames cover.

    The distortion of the optics is left out: it moves an edge by some pixels.

    Parameters
    ----------
    hours : ndarray of float, shape (n_frames,)
    ra, dec : ndarray of float, shape (n_frames,)
        Of the middle of each, ICRS degrees.
    rotation : ndarray of float, shape (n_frames,)
        Position angle of +y, degrees from north through east. Which way x goes makes no difference.
    height, width : ndarray of float, shape (n_frames,)
        Along y and x, arcsec.
    """
    longitude = np.radians(ra)
    center = unit_vectors(ra, dec)
    east = np.stack([-np.sin(longitude), np.cos(longitude), np.zeros(len(center))], axis=-1)
    north = np.cross(center, east)
    angle = np.radians(rotation)[:, None]
    along_y = np.cos(angle) * north + np.sin(angle) * east
    along_x = np.cos(angle) * east - np.sin(angle) * north
    half = 0.5 * _ARCSEC * np.stack([height, width], axis=-1)
    edges = [
        half[:, [axis]] * center + sign * along
        for axis, along in enumerate((along_y, along_x))
        for sign in (-1.0, 1.0)
    ]
    corner = np.arctan(np.hypot(half[:, 0], half[:, 1]))
    return Footprints(
        hours=np.asarray(hours, np.float64),
        center=center,
        radius=2.0 * np.sin(0.5 * corner),
        edges=np.stack(edges, axis=1),
    )
