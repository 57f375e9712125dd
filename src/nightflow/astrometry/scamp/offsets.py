"""How far the stars of a solved chip lie from the catalogue: for the eye, and for the headers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.astrometry.plate import plate_from_wcs
from nightflow.astrometry.refine import pairs
from nightflow.astrometry.scamp.frames import ChipAnswer, ChipFrame
from nightflow.catalogs.stars import ReferenceStars

__all__ = ["Offsets", "offsets_of"]

Array = NDArray[np.float64]

_RADIUS = 1.0
"""Arcsec; never below 1.5 pixels."""


@dataclass(frozen=True, kw_only=True)
class Offsets:
    """Stars of one chip against the catalogue; columns of equal length n.

    Attributes
    ----------
    exposure, chip : str
    ra, dec : ndarray, shape (n,)
        Of the catalogue stars, ICRS degrees.
    d_ra, d_dec : ndarray, shape (n,)
        Observed minus catalogue, mas; d_ra with the cosine of the declination in it.
    left_out : ndarray of bool, shape (n,)
        Stars that SCAMP did not see.
    """

    exposure: str
    chip: str
    ra: Array
    dec: Array
    d_ra: Array
    d_dec: Array
    left_out: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ra)


def offsets_of(frame: ChipFrame, answer: ChipAnswer, stars: ReferenceStars) -> Offsets:
    """Return the offsets of a chip's stars; none where it was refused.

    Parameters
    ----------
    frame, answer : ChipFrame, ChipAnswer
        What went in and what came out.
    stars : ReferenceStars
        At the epoch of the frame.
    """
    if answer.solution is None:
        nothing = np.empty(0)
        return Offsets(
            exposure=answer.exposure,
            chip=answer.chip,
            ra=nothing,
            dec=nothing,
            d_ra=nothing,
            d_dec=nothing,
            left_out=np.empty(0, bool),
        )
    plate = plate_from_wcs(answer.solution.wcs, frame.request.shape)
    fit, rows = pairs(plate, frame.request, stars, max(_RADIUS / plate.scale, 1.5))
    d_ra, d_dec = plate.residuals(fit.x, fit.y, fit.ra, fit.dec)
    return Offsets(
        exposure=answer.exposure,
        chip=answer.chip,
        ra=fit.ra,
        dec=fit.dec,
        d_ra=1000.0 * d_ra,
        d_dec=1000.0 * d_dec,
        left_out=~np.isin(rows, answer.used),
    )
