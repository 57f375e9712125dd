"""The detections of many frames to objects: at most one detection of each frame in an object.

DBSCAN on unit vectors finds what belongs together. Where a cluster holds two detections of one frame (a close
pair, a body that passes a star, a star that was detected twice) it is taken apart, the densest place first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.lightcurves.associate import chords
from nightflow.lightcurves.dbscan import NOISE, dbscan
from nightflow.sphere import unit_vectors

__all__ = ["chord", "cluster", "least_detections", "middle"]

_FEW_FRAMES = 10
"""Below so many frames two detections at one place are hardly ever chance."""


def least_detections(
    n_frames: int | NDArray[np.integer], least: int = 3, fraction: float = 0.0
) -> NDArray[np.intp]:
    """Return how many detections at one place make an object.

    Parameters
    ----------
    n_frames : int or ndarray of int, shape (n,)
        That covered the place.
    least : int
        Where there are many frames; two do on fewer than ten, for then chance makes no pairs.
    fraction : float
        Of the frames.
    """
    wanted = np.where(np.asarray(n_frames) < _FEW_FRAMES, min(least, 2), least)
    return np.maximum(wanted, np.ceil(fraction * np.asarray(n_frames)).astype(np.intp))


def chord(arcsec: float) -> float:
    """Return the distance of two unit vectors that are so far apart."""
    return float(chords(arcsec))


def middle(ra: NDArray[np.floating], dec: NDArray[np.floating]) -> tuple[float, float]:
    """Return the median of neighbouring places, ICRS degrees, also where ra passes 0 and at a pole."""
    vector = np.median(unit_vectors(ra, dec), axis=0)
    longitude = float(np.degrees(np.arctan2(vector[1], vector[0]))) % 360.0
    return longitude, float(np.degrees(np.arctan2(vector[2], np.hypot(vector[0], vector[1]))))


def cluster(
    ra: NDArray[np.floating],
    dec: NDArray[np.floating],
    frame: NDArray[np.integer],
    *,
    radius: float,
    least: int | NDArray[np.integer],
) -> list[NDArray[np.intp]]:
    """Return which detections are one object.

    Parameters
    ----------
    ra, dec : ndarray of float, shape (n,)
        ICRS degrees, finite.
    frame : ndarray of int, shape (n,)
        Frame of each detection.
    radius : float
        Arcsec between neighbours.
    least : int or ndarray of int, shape (n,)
        Detections that make an object, everywhere or at the place of each.

    Returns
    -------
    list of ndarray of intp
        The detections of each object, ascending; the objects in the order of their first one. The answer
        depends on the order of the detections only where they tie.
    """
    points = unit_vectors(ra, dec)
    reach = chord(radius)
    wanted = np.broadcast_to(np.asarray(least, np.intp), (len(points),))
    found: list[NDArray[np.intp]] = []
    waiting = _groups(dbscan(points, reach, wanted))
    while waiting:
        rows = waiting.pop()
        if _one_a_frame(frame[rows]):
            found.append(rows)
            continue
        dense, rest = _densest(points, frame, rows, reach)
        found.append(dense)
        rest = _away_from(points, rest, dense, reach)
        waiting += [rest[part] for part in _groups(dbscan(points[rest], reach, wanted[rest]))]
    enough = (rows for rows in found if len(rows) >= wanted[rows].min())
    return sorted(enough, key=lambda rows: int(rows[0]))


def _groups(labels: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the rows of each label, ascending, without those of noise."""
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] != NOISE]
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []


def _one_a_frame(frame: NDArray[np.integer]) -> bool:
    return len(np.unique(frame)) == len(frame)


def _densest(
    points: NDArray[np.float64], frame: NDArray[np.integer], rows: NDArray[np.intp], reach: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the detections, one a frame, round the densest place, and the others."""
    tree = cKDTree(points[rows])
    crowd = tree.query_ball_point(points[rows], reach / 2.0, return_length=True)
    peak = points[rows[int(np.argmax(crowd))]]
    centre = np.median(points[rows[tree.query_ball_point(peak, reach / 2.0)]], axis=0)
    distance = np.linalg.norm(points[rows] - centre, axis=1)
    nearest_first = np.lexsort((rows, distance))
    nearest_first = nearest_first[distance[nearest_first] <= reach]
    _, first = np.unique(frame[rows[nearest_first]], return_index=True)
    chosen = np.zeros(len(rows), bool)
    chosen[nearest_first[first]] = True
    return rows[chosen], rows[~chosen]


def _away_from(
    points: NDArray[np.float64], rows: NDArray[np.intp], dense: NDArray[np.intp], reach: float
) -> NDArray[np.intp]:
    """Return the rows that are not second detections of what was just found.

    Nothing else can be there: detection does not tell apart what is nearer than half of the FWHM.
    """
    centre = np.median(points[dense], axis=0)
    return rows[np.linalg.norm(points[rows] - centre, axis=1) > reach]
