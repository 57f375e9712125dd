"""Which detection is which object: one to one, nearest first, on the sphere.

Works on unit vectors in a k-d tree, so that poles and right ascension 0 are places like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.sphere import unit_vectors

__all__ = ["Association", "associate", "chords", "match_radius", "reach", "separation"]

MINIMUM_RADIUS = 3.0
"""Arcsec."""
_LEAST_REACH = 1.0
"""Arcsec; no catalogue and no night of turbulence is better than this everywhere on a frame."""
_SIGMAS = 3.0


@dataclass(frozen=True, kw_only=True)
class Association:
    """Partners of n detections.

    Attributes
    ----------
    source : ndarray of intp, shape (n,)
        Index of the object that each detection belongs to, -1 for none.
    separation : ndarray of float64, shape (n,)
        Arcsec, NaN for none.
    ambiguous : ndarray of bool, shape (n,)
        True where another object was within reach, too, or the object was for another detection.
    """

    source: NDArray[np.intp]
    separation: NDArray[np.float64]
    ambiguous: NDArray[np.bool_]


def match_radius(scale: float | None) -> float:
    """Return the radius within which a detection may belong to an object, arcsec.

    The larger of 3" and 1.5 pixels.

    Parameters
    ----------
    scale : float or None
        Arcsec per pixel.
    """
    return MINIMUM_RADIUS if scale is None else max(MINIMUM_RADIUS, 1.5 * scale)


def reach(
    scale: float | None, fwhm: float | None, rms: float | None, position_err: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return how far from its object a detection may lie, arcsec, shape (n,).

    The largest of 1", three times the rms of the frame's WCS, half of the FWHM and three times the error of
    the centroid, but not more than `match_radius` and half of the FWHM: beyond that a neighbour is as likely.

    Parameters
    ----------
    scale : float or None
        Arcsec per pixel.
    fwhm : float or None
        Pixels.
    rms : float or None
        Radial, arcsec.
    position_err : ndarray of float, shape (n,)
        Arcsec along each axis; NaN where unknown.
    """
    largest = match_radius(scale)
    if scale is None or fwhm is None or rms is None:
        return np.full(len(position_err), largest)
    half_fwhm = 0.5 * fwhm * scale
    frame = max(_LEAST_REACH, _SIGMAS * rms, half_fwhm)
    own = _SIGMAS * np.nan_to_num(np.asarray(position_err, np.float64))
    return np.minimum(np.maximum(frame, own), max(largest, half_fwhm))


def chords(arcsec: float | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the distances of unit vectors that are so far apart, those of opposite ones at most."""
    angle = np.radians(np.asarray(arcsec, np.float64) / 3600.0)
    return np.asarray(2.0 * np.sin(np.minimum(angle, np.pi) / 2.0))


def separation(
    ra: float | NDArray[np.floating],
    dec: float | NDArray[np.floating],
    other_ra: float | NDArray[np.floating],
    other_dec: float | NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return the distance of places in degrees on the sphere, arcsec, broadcast against each other."""
    return _arcsec(np.linalg.norm(unit_vectors(ra, dec) - unit_vectors(other_ra, other_dec), axis=-1))


def associate(
    ra: NDArray[np.floating],
    dec: NDArray[np.floating],
    source_ra: NDArray[np.floating],
    source_dec: NDArray[np.floating],
    radius: float | NDArray[np.floating],
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
    radius : float or ndarray of float, shape (n,)
        Arcsec, of all detections or of each.
    """
    partner = np.full(len(ra), -1, np.intp)
    separation = np.full(len(ra), np.nan)
    ambiguous = np.zeros(len(ra), bool)
    solved = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    detection, source, chord = _pairs(
        unit_vectors(ra[solved], dec[solved]),
        unit_vectors(source_ra, source_dec),
        np.broadcast_to(np.asarray(radius, np.float64), (len(ra),))[solved],
    )
    contested = _several(detection) | _several(source)
    ambiguous[solved[detection[contested]]] = True
    while len(chord):
        mutual = _first_of(detection) & _first_of(source)
        taken = solved[detection[mutual]]
        partner[taken] = source[mutual]
        separation[taken] = _arcsec(chord[mutual])
        left = ~np.isin(detection, detection[mutual]) & ~np.isin(source, source[mutual])
        detection, source, chord = detection[left], source[left], chord[left]
    return Association(source=partner, separation=separation, ambiguous=ambiguous & (partner >= 0))


def _pairs(
    detections: NDArray[np.float64], sources: NDArray[np.float64], radius: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return all pairs within the radius, nearest first; ties by index, so that there is one answer."""
    if not len(detections) or not len(sources):
        return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)
    longest = chords(radius)
    found = cKDTree(detections).sparse_distance_matrix(
        cKDTree(sources), float(longest.max()), output_type="ndarray"
    )
    found = found[found["v"] <= longest[found["i"]]]
    found = found[np.lexsort((found["j"], found["i"], found["v"]))]
    return found["i"], found["j"], found["v"]


def _several(index: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which rows share their index with another row."""
    return np.bincount(index)[index] > 1 if len(index) else np.zeros(0, bool)


def _first_of(index: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which rows are the first with their index."""
    first = np.zeros(len(index), bool)
    first[np.unique(index, return_index=True)[1]] = True
    return first


def _arcsec(chord: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(np.degrees(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0))) * 3600.0)
