"""Which matched stars may serve as reference of a zero point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import UNUSABLE, Flag
from nightflow.photcal.instrumental import POGSON
from nightflow.photcal.match import CatalogMatch
from nightflow.sources.table import SourceTable

__all__ = ["usable_pairs"]

_LEAST_SIGNAL_TO_NOISE = 10.0
_FEWEST_CLEAN = 10


def usable_pairs(
    sources: SourceTable,
    reference: NDArray[np.float64],
    match: CatalogMatch,
    error: NDArray[np.float64],
    excluded: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """Return which of n pairs may serve, shape (n,): sound, of S/N above 10, and alone where that leaves 10.

    Parameters
    ----------
    sources : SourceTable
    reference : ndarray of float64, shape (n_stars,)
        Magnitudes of the catalogue's stars; NaN where unknown.
    match : CatalogMatch
        The pairs.
    error : ndarray of float64, shape (len(sources),)
        Of the instrumental magnitudes.
    excluded : ndarray of bool, shape (len(sources),), or None
        Sources that must not serve.
    """
    never = int((UNUSABLE | Flag.EDGE) & ~Flag.COSMIC_RAY)
    usable = np.isfinite(reference[match.star]) & np.isfinite(error[match.source])
    usable &= (sources.flags[match.source] & never) == 0
    usable &= error[match.source] < POGSON / _LEAST_SIGNAL_TO_NOISE
    if excluded is not None:
        usable &= ~excluded[match.source]
    # In a sparse field a star with a neighbour, or with a filled pixel, is better than none: its scatter
    # shows in the error.
    for unwanted in (Flag.NEIGHBOUR | Flag.COSMIC_RAY, Flag.COSMIC_RAY):
        clean = usable & ((sources.flags[match.source] & int(unwanted)) == 0)
        if clean.sum() >= _FEWEST_CLEAN:
            return clean
    return usable
