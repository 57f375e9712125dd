"""Sources of a frame to stars of a catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.catalogs.stars import ReferenceStars
from nightflow.sources.table import SourceTable

__all__ = ["CatalogMatch", "match_catalog"]

_WORST_CENTROID = 1.5
"""Pixels; the match radius is never below this."""


@dataclass(frozen=True)
class CatalogMatch:
    """Pairs of one source and one star.

    Attributes
    ----------
    source, star : ndarray of int, shape (n,)
        Rows of the source table and of the reference stars.
    distance : ndarray of float64, shape (n,)
        Pixels.
    """

    source: NDArray[np.intp]
    star: NDArray[np.intp]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.source)


def match_catalog(
    sources: SourceTable, stars: ReferenceStars, wcs: WCS, scale: float, radius_arcsec: float
) -> CatalogMatch:
    """Pair sources and stars that are each other's nearest.

    Parameters
    ----------
    sources : SourceTable
        Of the frame.
    stars : ReferenceStars
        Already moved to the frame's epoch.
    wcs : astropy.wcs.WCS
        Solution of the frame.
    scale : float
        Arcsec per pixel.
    radius_arcsec : float
        Largest distance; never below 1.5 pixels.
    """
    none = np.empty(0, np.intp)
    if len(sources) == 0 or len(stars) == 0:
        return CatalogMatch(none, none.copy(), np.empty(0))
    star_x, star_y = wcs.all_world2pix(stars.ra, stars.dec, 0, quiet=True)
    on_frame = np.isfinite(star_x) & np.isfinite(star_y)
    rows = np.flatnonzero(on_frame)
    if len(rows) == 0:
        return CatalogMatch(none, none.copy(), np.empty(0))
    star_tree = cKDTree(np.column_stack([star_x[rows], star_y[rows]]))
    source_tree = cKDTree(np.column_stack([sources.x, sources.y]))
    limit = max(radius_arcsec / scale, _WORST_CENTROID)
    distance, nearest_star = star_tree.query(source_tree.data, distance_upper_bound=limit)
    _, nearest_source = source_tree.query(star_tree.data, distance_upper_bound=limit)
    found = np.flatnonzero(np.isfinite(distance))
    mutual = found[nearest_source[nearest_star[found]] == found]
    return CatalogMatch(mutual, rows[nearest_star[mutual]], distance[mutual])
