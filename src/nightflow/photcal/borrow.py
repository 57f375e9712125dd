"""The calibration of a frame by the zero point that its night lends."""

from __future__ import annotations

import numpy as np

from nightflow.catalogs.stars import ReferenceStars
from nightflow.photcal.bands import BandChoice, reference_of
from nightflow.photcal.conditions import Conditions
from nightflow.photcal.instrumental import instrumental_magnitudes
from nightflow.photcal.lent import Lent
from nightflow.photcal.match import CatalogMatch
from nightflow.photcal.solution import FluxCalibration, PhotometricSolution
from nightflow.sources.table import SourceTable

__all__ = ["borrow_zero_point"]


def borrow_zero_point(
    sources: SourceTable,
    stars: ReferenceStars,
    match: CatalogMatch,
    conditions: Conditions,
    choice: BandChoice,
    lent: Lent,
    why: str,
) -> FluxCalibration:
    """Calibrate a frame by what its night lends, where it has too few stars of its own.

    Parameters
    ----------
    sources, stars, match, conditions
        As for `calibrate_flux`.
    choice : BandChoice
        Band and colour of the night's zero points.
    lent : Lent
    why : str
        What the frame lacks.
    """
    instrumental, error = instrumental_magnitudes(sources.flux, sources.flux_err, conditions.exptime)
    color = reference_of(choice, stars).color
    offset = np.full(len(sources), lent.zero_point)
    if lent.color_term is not None and np.isfinite(color).any():
        own = np.full(len(sources), float(np.nanmedian(color)))
        known = np.isfinite(color[match.star])
        own[match.source[known]] = color[match.star[known]]
        offset += lent.color_term * own
    warning = (
        f"the zero point is that of the night, expected from {lent.n_frames} earlier frames, "
        f"+- {lent.error:.3f} by what the transparency does from frame to frame: {why}"
    )
    solution = PhotometricSolution(
        zero_point=lent.zero_point,
        zero_point_adu=lent.zero_point - 2.5 * np.log10(conditions.gain),
        error=lent.error,
        scatter=float("nan"),
        n_stars=0,
        catalog=stars.catalog,
        band=choice.description,
        system=choice.system,
        color_term=lent.color_term,
        color_term_error=lent.color_term_error,
        color=choice.color if lent.color_term is not None else None,
        depth_5sigma=conditions.depth(lent.zero_point),
        origin="night",
        warnings=tuple(one for one in (choice.guess, warning) if one),
    )
    return FluxCalibration(solution=solution, mag=instrumental + offset, mag_err=error)
