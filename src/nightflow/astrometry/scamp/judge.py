"""Is what SCAMP says of a chip right? Our own verification, on stars that SCAMP never saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.astrometry.accept import match_radius_px, solution_from
from nightflow.astrometry.plate import Plate
from nightflow.astrometry.refine import Fit, pairs, radial_rms
from nightflow.astrometry.solution import Quality, Solution, SolveRequest
from nightflow.astrometry.verify import examine, faults
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["judge"]

_CLIP = 4.0
_RAYLEIGH_MEDIAN = 1.1774
"""Median of a Rayleigh distribution in units of sigma."""
_FLOOR = 0.03
"""Pixels, as in `nightflow.astrometry.refine`."""
_FEWEST_LEFT_OUT = 3


def judge(
    plate: Plate,
    request: SolveRequest,
    settings: AstrometrySettings,
    stars: ReferenceStars,
    used: NDArray[np.intp],
    *,
    hypotheses: int = 1,
) -> Solution:
    """Return a chip's solution by SCAMP, verified by the bar of all rungs.

    Nothing is fitted: the plate stands as it is, and its error is that at stars which SCAMP did not see.

    Parameters
    ----------
    plate : Plate
        What SCAMP says.
    request : SolveRequest
        All stars of the chip.
    stars : ReferenceStars
        At the epoch of the frame.
    used : ndarray of int
        Rows of the request that SCAMP was given.
    hypotheses : int
        Candidates among which it won: those of its start, times the degrees that SCAMP tried.

    Raises
    ------
    NoSolution
        It does not pass; the message says by what.
    """
    fit, rows = _matched(plate, request, settings, stars)
    unseen = ~np.isin(rows, used)
    if len(fit) < _FEWEST_LEFT_OUT:
        raise NoSolution(f"{len(fit)} stars matched, {settings.minimum_matches} needed")
    if unseen.sum() < _FEWEST_LEFT_OUT:
        raise NoSolution(
            f"{len(fit)} stars matched, {int(unseen.sum())} of them left out of the fit: "
            f"{_FEWEST_LEFT_OUT} such are needed to verify it"
        )
    heldout = radial_rms(fit.take(unseen))
    evidence = replace(examine(fit, request, stars, hypotheses=hypotheses), heldout_rms_arcsec=heldout)
    objections = faults(evidence, request, settings)
    if objections:
        raise NoSolution("candidate refused: " + ", ".join(objections))
    solution = solution_from(
        fit.take(~unseen), request, stars, backend="scamp", quality=Quality.VERIFIED, heldout=heldout
    )
    return replace(solution, evidence=evidence, hypotheses=hypotheses)


def _matched(
    plate: Plate, request: SolveRequest, settings: AstrometrySettings, stars: ReferenceStars
) -> tuple[Fit, NDArray[np.intp]]:
    """Return the pairs but for those that lie far outside of what the others scatter by: by chance."""
    fit, rows = pairs(plate, request, stars, match_radius_px(settings, plate.scale))
    if not len(fit):
        return fit, rows
    off = np.hypot(*plate.residuals(fit.x, fit.y, fit.ra, fit.dec)) / plate.scale
    sigma = np.hypot(fit.error, max(float(np.median(off)) / _RAYLEIGH_MEDIAN, _FLOOR))
    good = off <= _CLIP * sigma
    return fit.take(good), rows[good]
