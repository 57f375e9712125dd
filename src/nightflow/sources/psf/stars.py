"""Which stars the PSF is built from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.sources.psf.fit import StarFits
from nightflow.sources.psf.model import PsfModel

__all__ = ["choose_stars"]

_SIGNAL_TO_NOISE = 30.0
_MOST = 150
_CELLS = 4
"""Along each side of the frame: the stars are spread over this many squared."""
_NEAR = 2.5
"""In FWHM: whose light this close disturbs."""
_LONE, _LEAST_LONE = 0.05, 0.5
"""Light of neighbours there, in parts of the star's own, up to which it counts as alone, or may do if none
is."""


def choose_stars(fits: StarFits, psf: PsfModel, unflagged: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return rows of bright stars that stand alone, well spread over the frame.

    Where a part of the frame has too few that stand alone, those that stand most alone serve: their
    neighbours are taken off before they are used.

    Parameters
    ----------
    fits : StarFits
    psf : PsfModel
    unflagged : ndarray of bool, shape (n,)
        Stars none of whose pixels is saturated or bad.
    """
    share = _neighbours_share(fits, _NEAR * psf.fwhm)
    bright = unflagged & fits.covered & ~fits.moved & (fits.flux > _SIGNAL_TO_NOISE * fits.flux_err)
    rows = np.flatnonzero(bright & (share < _LEAST_LONE))
    crowded = share[rows] >= _LONE
    # Those that are alone first, the brightest of them first; then the others, by how alone they are.
    order = np.lexsort((-fits.flux[rows], np.where(crowded, share[rows], 0)))
    rows = rows[order]
    ny, nx = psf.shape
    cell = (fits.x[rows] / nx * _CELLS).astype(int) + _CELLS * (fits.y[rows] / ny * _CELLS).astype(int)
    rank = np.empty(len(rows), np.intp)
    for number in np.unique(cell):
        members = np.flatnonzero(cell == number)
        rank[members] = np.arange(len(members))
    return rows[np.argsort(rank, kind="stable")[:_MOST]]


def _neighbours_share(fits: StarFits, radius: float) -> NDArray[np.float64]:
    """Return the flux of all stars within a radius of each, in parts of its own."""
    light = np.zeros(len(fits))
    if len(fits):
        pairs = cKDTree(np.column_stack([fits.x, fits.y])).query_pairs(radius, output_type="ndarray")
        flux = np.maximum(fits.flux, 0)
        np.add.at(light, pairs[:, 0], flux[pairs[:, 1]])
        np.add.at(light, pairs[:, 1], flux[pairs[:, 0]])
    return np.asarray(light / np.maximum(fits.flux, 1e-9))
