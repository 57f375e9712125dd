"""What another rung has found, and what SCAMP makes of it: where SCAMP is not clearly better, it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS

from nightflow.astrometry.accept import WALL_OVER_CPU
from nightflow.astrometry.scamp.degrees import (
    best_of,
    central_plate,
    comparable,
    residuals_of_others,
)
from nightflow.astrometry.scamp.frames import ChipAnswer, ChipFrame, Exposure, Together
from nightflow.astrometry.scamp.together import solve_together
from nightflow.astrometry.solution import Quality, Solution, SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.external import ProgramError, scratch_folder
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["Comparison", "compared", "refined"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A verified WCS beside SCAMP's answer.

    Attributes
    ----------
    before_arcsec, after_arcsec : float
        Radial rms about the one and the other of the same stars, which SCAMP was not given.
    objection : str
        What speaks against SCAMP's; "" where nothing does.
    """

    before_arcsec: float
    after_arcsec: float
    objection: str


def refined(
    solution: Solution, request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings
) -> Solution:
    """Return a frame's solution refined by SCAMP, or as it was, with a warning that says why.

    Parameters
    ----------
    solution : Solution
        Where SCAMP starts, whatever its quality. One that was lent a distortion stands: SCAMP fits a
        distortion to this frame alone, and would leave the corners to it.
    request : SolveRequest
        What the solution was made of; ``time_limit`` bounds SCAMP, too.
    """
    if solution.lent is not None:
        return _as_it_was(solution, f"not asked: {solution.lent.n_frames} frames lent their distortion")
    try:
        together = _by_scamp(solution, request, catalogs, settings)
    except (NoSolution, ProgramError) as refusal:
        return _as_it_was(solution, str(refusal))
    (answer,) = together.answers
    if together.stopped:
        solution = _as_it_was(solution, together.stopped)
    found = answer.solution
    if found is None:
        return _as_it_was(solution, answer.reason)
    if solution.quality is Quality.VERIFIED:
        said = compared(solution.wcs, _corner_error(solution), answer, request, together.stars, settings)
        if said.objection:
            return _as_it_was(solution, f"{said.objection}: {solution.backend} stands")
    return replace(found, warnings=solution.warnings)


def _as_it_was(solution: Solution, why: str) -> Solution:
    return replace(solution, warnings=(*solution.warnings, f"scamp: {why}"))


def compared(
    wcs: WCS,
    corner_error: float,
    answer: ChipAnswer,
    request: SolveRequest,
    stars: ReferenceStars,
    settings: AstrometrySettings,
) -> Comparison:
    """Return how SCAMP's answer does in place of a verified WCS.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        That stands.
    corner_error : float
        How far off its worst corner may be, arcsec.
    answer : ChipAnswer
        Verified, too.
    request : SolveRequest
        All stars of the chip.
    stars : ReferenceStars
        What SCAMP was given.
    """
    assert answer.solution is not None
    # the same stars for both; the rung was fitted to them, SCAMP was not: the doubt is in the rung's favour
    stars = stars.at_epoch(request.epoch)
    residuals = [
        residuals_of_others(central_plate(one, request.shape), request, answer.used, stars, settings)
        for one in (wcs, answer.solution.wcs)
    ]
    table = comparable(residuals)
    if not table.size:
        nothing = "not one star that it was not given has a partner in the catalogue"
        return Comparison(before_arcsec=math.nan, after_arcsec=math.nan, objection=nothing)
    before, after = (float(np.sqrt(np.mean(one**2))) for one in table)
    comparison = Comparison(before_arcsec=before, after_arcsec=after, objection="")
    if best_of(residuals) == 0:
        return replace(comparison, objection="no clear gain on the stars it was not given")
    corner = _corner_error(answer.solution)
    if not corner <= corner_error:
        said = f'corners would be good to {corner:.3f}" instead of {corner_error:.3f}"'
        return replace(comparison, objection=said)
    return comparison


def _corner_error(solution: Solution) -> float:
    """Return how far off the worst corner may be, arcsec: by what the stars there say, and by noise."""
    evidence = solution.evidence
    if evidence is None:
        return float("inf")
    seen = evidence.corner_rms_arcsec if evidence.n_corner else 0.0
    return math.hypot(seen, evidence.corner_error_arcsec)


def _by_scamp(
    solution: Solution, request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings
) -> Together:
    limit = min(settings.scamp.time_limit, WALL_OVER_CPU * request.time_limit)
    bounded = settings.model_copy(
        update={"scamp": settings.scamp.model_copy(update={"time_limit": limit, "stability": "exposure"})}
    )
    chip = ChipFrame(name="", request=request, start=solution.wcs, hypotheses=solution.hypotheses)
    frame = Exposure(name="frame", chips=(chip,))
    with scratch_folder("nightflow-scamp-") as folder:
        return solve_together([frame], catalogs, bounded, folder)
