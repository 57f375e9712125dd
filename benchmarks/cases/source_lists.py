"""Two lists of sources of one frame, and whether they say the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.harness import Agreement, both, close

__all__ = ["SourceList", "compare"]

_NEAR = 1.5
"""Pixels within which two detections are one."""
_BRIGHT = 20.0
"""Signal to noise from which both must have found a source."""
_EDGE = 40.0
"""Pixels from the frame's edge; closer, apertures and annuli are cut off, each program in its own way."""
_ALONE = 12.0
"""Pixels without another source: blends are taken apart by each program in its own way."""


@dataclass(frozen=True, kw_only=True)
class SourceList:
    """Positions and fluxes; columns of equal length.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        0-based pixels.
    flux, flux_err : ndarray, shape (n,)
        Electrons in the aperture above the local sky.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)

    def comparable(self, shape: tuple[int, int]) -> NDArray[np.intp]:
        """Return the rows of bright sources that are alone and away from the edge."""
        places = np.column_stack([self.x, self.y])
        neighbour = cKDTree(places).query(places, k=2)[0][:, 1]
        inside = np.minimum.reduce([self.x, self.y, shape[1] - 1 - self.x, shape[0] - 1 - self.y]) > _EDGE
        bright = self.flux > _BRIGHT * self.flux_err
        return np.flatnonzero(bright & inside & (neighbour > _ALONE))


def compare(
    ours: SourceList, theirs: SourceList, shape: tuple[int, int], *, place_limit: float = 0.05
) -> Agreement:
    """Compare lists: each finds the other's bright sources, at the same place and with the same flux.

    Parameters
    ----------
    ours, theirs : SourceList
    shape : tuple of int
        (ny, nx) of the frame.
    place_limit : float
        Pixels, for the median; wider where the peer's centroids are plain moments.
    """
    here, there = ours.comparable(shape), theirs.comparable(shape)
    if min(len(here), len(there)) < 5:
        return Agreement(False, f"{len(here)} and {len(there)} bright sources: too few to compare")
    distance, partner = _nearest(ours, theirs, here)
    missed = np.concatenate([distance > _NEAR, _nearest(theirs, ours, there)[0] > _NEAR])
    rows, partners = here[distance <= _NEAR], partner[distance <= _NEAR]
    offset = np.hypot(ours.x[rows] - theirs.x[partners], ours.y[rows] - theirs.y[partners])
    ratio = theirs.flux[partners] / ours.flux[rows]
    # One factor for the whole frame is the aperture correction, which not every program makes.
    scatter = np.abs(ratio / np.median(ratio) - 1)
    return both(
        close(f"of {len(missed)} bright ones missed", float(missed.mean()), 0.03),
        close("places differ by", float(np.median(offset)), place_limit, " px"),
        close("fluxes by", float(np.median(scatter)), 0.01),
    )


def _nearest(
    one: SourceList, other: SourceList, rows: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    tree = cKDTree(np.column_stack([other.x, other.y]))
    distance, partner = tree.query(np.column_stack([one.x[rows], one.y[rows]]))
    return distance, partner
