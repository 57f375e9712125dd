"""Which detection is which object: one to one, nearest first, on the sphere.

Works on unit vectors in a k-d tree, so that poles and right ascension 0 are places like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["Association", "associate", "match_radius", "unit_vectors"]

MINIMUM_RADIUS = 3.0
"""Arcsec."""


@dataclass(frozen=True, kw_only=True)
class Association:
    """Partners of n detections.

    Attributes
    ----------
    source : ndarray of intp, shape (n,)
        Index of the object that each detection belongs to, -1 for none.
    separation : ndarray of float64, shape (n,)
        Arcsec, NaN for none.
    """

    source: NDArray[np.intp]
    separation: NDArray[np.float64]


def match_radius(scale: float | None) -> float:
    """Return the radius within which a detection may belong to an object, arcsec.

    The larger of 3" and 1.5 pixels.

    Parameters
    ----------
    scale : float or None
        Arcsec per pixel.
    """
    return MINIMUM_RADIUS if scale is None else max(MINIMUM_RADIUS, 1.5 * scale)


def unit_vectors(ra: float | NDArray[np.floating], dec: float | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the unit vectors, shape (..., 3), of positions in degrees, broadcast against each other."""
    ra, dec = np.broadcast_arrays(np.radians(ra), np.radians(dec))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def associate(
    ra: NDArray[np.floating],
    dec: NDArray[np.floating],
    source_ra: NDArray[np.floating],
    source_dec: NDArray[np.floating],
    radius: float,
) -> Association:
    """Match detections to objects one to one.

    Pairs that are each other's nearest are taken; among those that are left over it is done again, until no
    pair within the radius is left. A detection or an object has at most one partner.

    Parameters
    ----------
    ra, dec : ndarray of float, shape (n,)
        Detections, ICRS degrees; NaN matches nothing.
    source_ra, source_dec : ndarray of float, shape (m,)
        Objects, at the time of the frame.
    radius : float
        Arcsec.
    """
    partner = np.full(len(ra), -1, np.intp)
    separation = np.full(len(ra), np.nan)
    solved = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    detection, source, chord = _pairs(
        unit_vectors(ra[solved], dec[solved]), unit_vectors(source_ra, source_dec), radius
    )
    while len(chord):
        mutual = _first_of(detection) & _first_of(source)
        taken = solved[detection[mutual]]
        partner[taken] = source[mutual]
        separation[taken] = _arcsec(chord[mutual])
        left = ~np.isin(detection, detection[mutual]) & ~np.isin(source, source[mutual])
        detection, source, chord = detection[left], source[left], chord[left]
    return Association(source=partner, separation=separation)


def _pairs(
    detections: NDArray[np.float64], sources: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return all pairs within the radius, nearest first; ties by index, so that there is one answer."""
    if not len(detections) or not len(sources):
        return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)
    reach = 2.0 * np.sin(np.radians(radius / 3600.0) / 2.0)
    found = cKDTree(detections).sparse_distance_matrix(cKDTree(sources), reach, output_type="ndarray")
    found = found[np.lexsort((found["j"], found["i"], found["v"]))]
    return found["i"], found["j"], found["v"]


def _first_of(index: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which rows are the first with their index."""
    first = np.zeros(len(index), bool)
    first[np.unique(index, return_index=True)[1]] = True
    return first


def _arcsec(chord: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.degrees(2.0 * np.arcsin(chord / 2.0)) * 3600.0
