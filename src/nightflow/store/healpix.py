"""The sky index of the sources: HEALPix, nested, order 14 (pixels of 13"), ICRS.

A place on the sky becomes one integer, a piece of sky a few ranges of them, which an ordinary index answers
(Gorski et al. 2005, ApJ 622, 759; astropy_healpix).
"""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from nightflow.sphere import unit_vectors

__all__ = ["ORDER", "cone", "cover", "pixel"]

ORDER = 14
_PIXELS_A_RADIUS = 4.0
_FACE_DEGREES = 58.6
"""Side of a pixel of order 0."""


def pixel(ra: NDArray[np.floating], dec: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the pixel of each place (ICRS degrees)."""
    grid = HEALPix(2**ORDER, order="nested")
    return np.asarray(grid.lonlat_to_healpix(np.asarray(ra) * u.deg, np.asarray(dec) * u.deg), np.int64)


def cone(ra: float, dec: float, radius: float) -> list[tuple[int, int]]:
    """Return ranges of pixels, first and last, that cover a circle of ``radius`` degrees.

    They hold the whole circle and some more: the caller checks distances.
    """
    order = int(np.clip(np.log2(_FACE_DEGREES * _PIXELS_A_RADIUS / max(radius, 1e-9)), 0, ORDER))
    grid = HEALPix(2**order, order="nested")
    # The search by itself leaves out pixels that the circle's edge cuts.
    reach = min(radius + _FACE_DEGREES / 2**order, 180.0)
    pixels = np.unique(grid.cone_search_lonlat(ra * u.deg, dec * u.deg, reach * u.deg))
    breaks = np.flatnonzero(np.diff(pixels) > 1)
    first = pixels[np.concatenate([[0], breaks + 1])]
    last = pixels[np.concatenate([breaks, [len(pixels) - 1]])]
    shift = 2 * (ORDER - order)
    return [(int(a) << shift, ((int(b) + 1) << shift) - 1) for a, b in zip(first, last, strict=True)]


def cover(ra: NDArray[np.floating], dec: NDArray[np.floating], margin: float) -> list[tuple[int, int]]:
    """Return ranges of pixels that cover these places (at least one), and ``margin`` degrees around each."""
    vectors = unit_vectors(ra, dec)
    total = vectors.sum(axis=0)
    # Places all over the sky may add up to nothing: then any centre does.
    centre = total / norm if (norm := np.linalg.norm(total)) > 1e-9 else vectors[0]
    chord = np.linalg.norm(vectors - centre, axis=1).max()
    reach = np.degrees(2.0 * np.arcsin(min(chord / 2.0, 1.0)))
    longitude = float(np.degrees(np.arctan2(centre[1], centre[0]))) % 360.0
    latitude = float(np.degrees(np.arcsin(np.clip(centre[2], -1.0, 1.0))))
    return cone(longitude, latitude, float(reach) + margin)
