"""Which degree of distortion to believe: the lowest that no higher one beats on stars left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from nightflow.astrometry.accept import match_radius_px
from nightflow.astrometry.plate import Plate
from nightflow.astrometry.refine import pairs
from nightflow.astrometry.scamp.chosen import Given
from nightflow.astrometry.scamp.headers import wcs_of_head
from nightflow.astrometry.scamp.layout import plate_about
from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["best_of", "central_plate", "comparable", "left_out_residuals", "residuals_of_others"]

Array = NDArray[np.float64]

_CLEAR_GAIN = 0.95
"""Ratio of the scatter."""
_SIGNIFICANT = 1.0
"""Standard errors by which the number of stars brought nearer must be more than half of them."""
_REAL = 5.0
"""Medians beyond which a star that no degree brings nearer is matched by chance."""


def best_of(residuals: Sequence[Array]) -> int:
    """Return which of several solutions, simplest first, is best on the same stars.

    A less simple one must have a smaller scatter, and bring most of the stars nearer: one star in a corner
    can make a scatter, and chance can make it smaller.

    Parameters
    ----------
    residuals : sequence of ndarray, shape (n,)
        Of each solution, star by star; inf where it brings no catalogue star near.
    """
    table = comparable(residuals)
    count = table.shape[1]
    best = 0
    for number, one in enumerate(table):
        nearer = int(np.sum(one < table[best]))
        most = nearer > 0.5 * (count + _SIGNIFICANT * np.sqrt(count))
        if most and np.sum(one**2) < _CLEAR_GAIN**2 * np.sum(table[best] ** 2):
            best = number
    return best


def comparable(residuals: Sequence[Array]) -> Array:
    """Return the residuals of the stars that some solution explains; what another loses counts as far off.

    Returns
    -------
    ndarray, shape (number of solutions, number of those stars)
    """
    table = np.stack(residuals)
    nearest = table.min(axis=0, initial=np.inf)
    table, nearest = table[:, np.isfinite(nearest)], nearest[np.isfinite(nearest)]
    if not nearest.size:
        return table
    table = table[:, nearest <= _REAL * np.median(nearest)]
    return np.where(np.isfinite(table), table, np.max(table, where=np.isfinite(table), initial=0.0))


def left_out_residuals(
    given: Sequence[Given],
    heads: Sequence[fits.Header],
    stars: ReferenceStars,
    settings: AstrometrySettings,
) -> Array:
    """Return the residuals (arcsec) of all stars that SCAMP did not see; inf of unmatched ones."""
    return np.concatenate(
        [_left_out(one, head, stars, settings) for one, head in zip(given, heads, strict=True)]
    )


def central_plate(wcs: WCS, shape: tuple[int, int]) -> Plate:
    """Return the plate of a chip's WCS about the middle of the chip."""
    middle = wcs.all_pix2world((shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0, 0)
    return plate_about(wcs, shape, float(middle[0]), float(middle[1]))


def residuals_of_others(
    plate: Plate,
    request: SolveRequest,
    used: NDArray[np.intp],
    stars: ReferenceStars,
    settings: AstrometrySettings,
) -> Array:
    """Return the residuals (arcsec) about a plate of all stars but ``used``; inf of unmatched ones."""
    fit, rows = pairs(plate, request, stars, match_radius_px(settings, plate.scale))
    residuals = np.full(len(request.x), np.inf)
    residuals[rows] = np.hypot(*plate.residuals(fit.x, fit.y, fit.ra, fit.dec))
    return np.delete(residuals, used)


def _left_out(one: Given, head: fits.Header, stars: ReferenceStars, settings: AstrometrySettings) -> Array:
    request = one.chip.request
    try:
        plate = central_plate(wcs_of_head(head), request.shape)
    except NoSolution:
        return np.full(len(request.x) - len(one.used), np.inf)
    return residuals_of_others(plate, request, one.used, stars.at_epoch(request.epoch), settings)
