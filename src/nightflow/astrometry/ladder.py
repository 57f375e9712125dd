"""The solver ladder: one rung after another, until one has a solution that stands.

The order is the profile's, or that of the settings for all cameras. Each rung verifies what it finds by the
same bar; what it says when it finds nothing, and how long it took, goes into the error, or into the solution
that a later rung found. A rung that hangs, crashes or has nothing to work with is one that found nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nightflow.astrometry.astrometry_net import solve_astrometry_net
from nightflow.astrometry.header import solve_header
from nightflow.astrometry.hint import solve_hint
from nightflow.astrometry.nova import NovaAccess, solve_nova
from nightflow.astrometry.previous import NO_EARLIER_SOLUTION, solve_previous
from nightflow.astrometry.scamp.refinement import refined
from nightflow.astrometry.solution import Quality, RungReport, Solution, SolveRequest
from nightflow.astrometry.solve_field import solve_with_solve_field
from nightflow.astrometry.spread import select_stars
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.external import ProgramError
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["RUNGS", "select_stars", "solve"]

Rung = Callable[[SolveRequest, LocalCatalogs, AstrometrySettings, Sequence[Path]], Solution]

RUNGS: dict[str, Rung] = {
    "previous": lambda request, catalogs, settings, folders: solve_previous(request, catalogs, settings),
    "header": lambda request, catalogs, settings, folders: solve_header(request, catalogs, settings),
    "hint": lambda request, catalogs, settings, folders: solve_hint(request, catalogs, settings),
    "astrometry_net": solve_astrometry_net,
    "solve_field": solve_with_solve_field,
}
"""All rungs of this machine by the name that a profile uses; `nova` is a service, and needs a key; `scamp` is
none, but refines what a rung has found."""


def solve(
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    index_folders: Sequence[Path] = (),
    *,
    order: Sequence[str] | None = None,
    nova: NovaAccess | None = None,
) -> Solution:
    """Solve a frame.

    Parameters
    ----------
    request : SolveRequest
        Stars and hints; ``header_wcs`` and ``previous_wcs`` feed the rungs of these names.
    catalogs : LocalCatalogs
        Reference catalogues.
    settings : AstrometrySettings
        Order of the rungs and the bar a solution must pass.
    index_folders : sequence of Path
        Index files of astrometry.net; the packaged ones are always there.
    order : sequence of str, optional
        Rungs to be tried, instead of those of ``settings``.
    nova : NovaAccess, optional
        How the rung `nova` reaches its service.

    Returns
    -------
    Solution
        Of the first rung that has one of the quality the profile requires; ``rungs`` tells of those before.

    Raises
    ------
    NoSolution
        No rung has a solution of the quality that the profile requires; ``rungs`` says why each did not.
    """
    request = _finite(request)
    reports: list[RungReport] = []
    rungs = settings.ladder if order is None else order
    for name in (one for one in rungs if one != "scamp"):
        started = time.monotonic()
        try:
            solution = _climb(name, request, catalogs, settings, index_folders, nova)
        except (NoSolution, ProgramError) as refusal:
            reports.append(RungReport(rung=name, reason=str(refusal), seconds=time.monotonic() - started))
            continue
        if "scamp" in rungs:
            solution = refined(solution, request, catalogs, settings)
        seconds = time.monotonic() - started
        if solution.quality == Quality.VERIFIED or settings.require != "verified":
            return _finished(solution, reports, seconds)
        reason = f"provisional only, with {solution.n_matched} stars"
        reports.append(RungReport(rung=name, reason=reason, seconds=seconds))
    raise NoSolution(f"no WCS from {len(request.x)} stars", [str(report) for report in reports])


def _climb(
    name: str,
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    index_folders: Sequence[Path],
    nova: NovaAccess | None,
) -> Solution:
    if name == "nova":
        return solve_nova(request, catalogs, settings, nova or NovaAccess())
    return RUNGS[name](request, catalogs, settings, index_folders)


def _finite(request: SolveRequest) -> SolveRequest:
    """Leave out detections without a position; a flux that is not finite counts as faint."""
    good = np.isfinite(request.x) & np.isfinite(request.y)
    flux = np.where(np.isfinite(request.flux), request.flux, 0.0)[good]
    order = np.argsort(-flux, kind="stable")
    errors = request.position_error
    return replace(
        request,
        x=request.x[good][order],
        y=request.y[good][order],
        flux=flux[order],
        position_error=None if errors is None else errors[good][order],
    )


def _finished(solution: Solution, reports: Sequence[RungReport], seconds: float) -> Solution:
    # the first frame of a pointing has no earlier solution: nothing that the reader of a solution need know
    said = [f"{report.rung}: {report.reason}" for report in reports if report.reason != NO_EARLIER_SOLUTION]
    return replace(
        solution,
        warnings=(*solution.warnings, *said),
        rungs=tuple(reports),
        seconds=seconds + sum(report.seconds for report in reports),
    )
