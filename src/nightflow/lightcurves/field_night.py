"""What is known of a field before its night is put in order: detections, sources, rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.flags import Flag
from nightflow.lightcurves.footprints import Footprints
from nightflow.sphere import unit_vectors

__all__ = ["DOUBTFUL", "FieldNight", "KnownSources", "Rules"]

DOUBTFUL = int(Flag.BAD | Flag.HOT | Flag.COSMIC_RAY | Flag.DEAD | Flag.TRAIL | Flag.PERSISTENCE)
"""A detection with any of these may be seen on a source, but makes none."""
_ALL = slice(None)
_CELLS_A_SIDE = 64
"""Of a frame; for how many frames cover a place."""
_COS_WIDEST = float(np.cos(np.radians(20.0)))
_CENTROID_OFF = DOUBTFUL | int(Flag.SATURATED | Flag.EDGE)
"""With any of these the centroid may be off: a star that the edge cuts follows the frame, not the sky."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How detections become sources.

    Attributes
    ----------
    radius : float
        Arcsec between detections of one source.
    least : int
        Detections that make a source.
    fraction : float
        Of the field's frames on which a source must be detected.
    fastest : float
        Arcsec an hour; what is faster is not looked for.
    """

    radius: float
    least: int = 3
    fraction: float = 0.0
    fastest: float = 300.0

    @property
    def trailing(self) -> float:
        """What the place of a body that moves during the exposure is less certain by, arcsec."""
        return 0.05 * self.radius


@dataclass(frozen=True, kw_only=True)
class FieldNight:
    """Detections of one field and night, ordered by time, frame and number; columns of equal length n.

    Attributes
    ----------
    frame : ndarray of int, shape (n,)
        Index of the frame in the order of time.
    hours : ndarray of float64, shape (n,)
        Time of the frame, from any zero.
    ra, dec : ndarray of float64, shape (n,)
        ICRS degrees, finite.
    x, y : ndarray of float, shape (n,)
        Pixels.
    reach : ndarray of float, shape (n,)
        How far each may lie from its source, arcsec.
    position_err : ndarray of float, shape (n,)
        Of the centroid along each axis, arcsec; 0 where unknown.
    pull : ndarray of float, shape (n,)
        By how much a neighbour in the aperture may pull the centroid, arcsec; 0 where there is none.
    sharpness : ndarray of float, shape (n,)
        FWHM over the frame's; NaN where unknown.
    exposure : ndarray of float, shape (n,)
        Exposure time of the frame in hours over its FWHM in arcsec: times a rate, a trail's length in FWHM.
    mag : ndarray of float, shape (n,)
        Instrumental.
    flags : ndarray of int, shape (n,)
    n_frames : int
        Of the field, those without a detection included.
    area : float
        Of a frame, square arcsec.
    scale : float
        Arcsec a pixel.
    footprints : Footprints or None
        What each frame covers; None: each covers the whole field.
    """

    frame: NDArray[np.integer]
    hours: NDArray[np.float64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    x: NDArray[np.floating]
    y: NDArray[np.floating]
    reach: NDArray[np.floating]
    position_err: NDArray[np.floating]
    pull: NDArray[np.floating]
    sharpness: NDArray[np.floating]
    exposure: NDArray[np.floating]
    mag: NDArray[np.floating]
    flags: NDArray[np.integer]
    n_frames: int
    area: float
    scale: float
    footprints: Footprints | None = None

    def __len__(self) -> int:
        return len(self.ra)

    def bounds(self) -> NDArray[np.intp]:
        """Return where the detections of each frame begin, and the end: shape (n_frames + 1,)."""
        return np.searchsorted(self.frame, np.arange(self.n_frames + 1))

    def coverage(self) -> NDArray[np.intp]:
        """Return how many frames covered the place of each detection, shape (n,)."""
        if self.footprints is None or not len(self):
            return np.full(len(self), self.n_frames, np.intp)
        cell = np.sqrt(self.area) / _CELLS_A_SIDE
        # Where the footprint is off by a little, the frame of the detection itself still covered it.
        return np.maximum(self.footprints.coverage(self.ra, self.dec, cell), 1)

    def is_small(self) -> bool:
        """Return whether the field is near enough to a plane: within 20 degrees of its middle."""
        vectors = unit_vectors(self.ra, self.dec)
        total = vectors.sum(axis=0)
        return bool(len(vectors)) and bool((vectors @ total >= _COS_WIDEST * np.linalg.norm(total)).all())

    def well_placed(self, rows: NDArray[np.intp] | slice = _ALL) -> NDArray[np.bool_]:
        """Return which of these detections tell where something is."""
        return (self.flags[rows] & _CENTROID_OFF) == 0


@dataclass(frozen=True, kw_only=True)
class KnownSources:
    """Sources that this night does not make; places at its time, ICRS degrees.

    Attributes
    ----------
    ra, dec : ndarray of float64, shape (m,)
        Known from other nights, or from an earlier association of this one.
    stands : ndarray of bool, shape (m,)
        Whether other nights see it there. That of this one alone may be a body that moves slowly.
    star_ra, star_dec : ndarray of float64, shape (s,)
        Stars of a catalogue, known or not: what stands there does not move.
    """

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    stands: NDArray[np.bool_]
    star_ra: NDArray[np.float64]
    star_dec: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ra)

    def fixed(self) -> cKDTree:
        """Return all places at which something stands, as unit vectors in a tree."""
        ra = np.concatenate([self.ra[self.stands], self.star_ra])
        dec = np.concatenate([self.dec[self.stands], self.star_dec])
        return cKDTree(unit_vectors(ra, dec).reshape(-1, 3))
