"""`scamp` in a ladder: what another rung has found, refined; where SCAMP does worse, it stands as it was."""

from __future__ import annotations

from dataclasses import replace

from nightflow.astrometry.accept import WALL_OVER_CPU
from nightflow.astrometry.scamp.frames import ChipFrame, Exposure
from nightflow.astrometry.scamp.together import solve_together
from nightflow.astrometry.solution import Quality, Solution, SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.external import ProgramError, scratch_folder
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["refined"]

_WORSE = 1.1
"""Ratio of the left-out stars' scatter from which on SCAMP's solution is not taken."""


def refined(
    solution: Solution, request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings
) -> Solution:
    """Return a frame's solution refined by SCAMP, or as it was, with a warning that says why.

    Parameters
    ----------
    solution : Solution
        Where SCAMP starts, whatever its quality.
    request : SolveRequest
        What the solution was made of; ``time_limit`` bounds SCAMP, too.
    """
    try:
        found = _by_scamp(solution, request, catalogs, settings)
    except (NoSolution, ProgramError) as refusal:
        return replace(solution, warnings=(*solution.warnings, f"scamp: {refusal}"))
    if solution.quality is not Quality.VERIFIED:
        # what it warned of is how little it was tested
        return found
    if found.heldout_rms_arcsec > _WORSE * solution.heldout_rms_arcsec:
        said = (
            f'scamp: left-out stars scatter by {found.heldout_rms_arcsec:.3f}", '
            f'by {solution.backend} {solution.heldout_rms_arcsec:.3f}", which stands'
        )
        return replace(solution, warnings=(*solution.warnings, said))
    return replace(found, warnings=solution.warnings)


def _by_scamp(
    solution: Solution, request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings
) -> Solution:
    limit = min(settings.scamp.time_limit, WALL_OVER_CPU * request.time_limit)
    bounded = settings.model_copy(
        update={"scamp": settings.scamp.model_copy(update={"time_limit": limit, "stability": "exposure"})}
    )
    frame = Exposure(name="frame", chips=(ChipFrame(name="", request=request, start=solution.wcs),))
    with scratch_folder("nightflow-scamp-") as folder:
        (answer,) = solve_together([frame], catalogs, bounded, folder).answers
    if answer.solution is None:
        raise NoSolution(answer.reason)
    return answer.solution
