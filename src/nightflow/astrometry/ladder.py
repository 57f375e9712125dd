"""The solver ladder: one rung after another, until one has a solution that stands.

The order is the profile's. Each rung verifies what it finds by the same bar; what it says when it
finds nothing goes into the error, or into the warnings of the solution that a later rung found.
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
from nightflow.astrometry.previous import solve_previous
from nightflow.astrometry.solution import Quality, Solution, SolveRequest
from nightflow.astrometry.spread import select_stars
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["RUNGS", "select_stars", "solve"]

Rung = Callable[[SolveRequest, LocalCatalogs, AstrometrySettings, Sequence[Path]], Solution]

RUNGS: dict[str, Rung] = {
    "previous": lambda request, catalogs, settings, folders: solve_previous(request, catalogs, settings),
    "header": lambda request, catalogs, settings, folders: solve_header(request, catalogs, settings),
    "hint": lambda request, catalogs, settings, folders: solve_hint(request, catalogs, settings),
    "astrometry_net": solve_astrometry_net,
}
"""All rungs by the name that a profile uses."""


def solve(
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    index_folders: Sequence[Path] = (),
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

    Returns
    -------
    Solution
        Of the first rung that has one of the quality the profile requires.

    Raises
    ------
    NoSolution
        No rung has a solution of the quality that the profile requires; ``rungs`` says why each did not.
    """
    started = time.monotonic()
    request = _finite(request)
    said: list[str] = []
    idle: list[str] = []
    for name in settings.ladder:
        if name == "previous" and request.previous_wcs is None:
            # the first frame of a pointing: nothing that the reader of a solution need know
            idle.append("previous: no earlier solution of this pointing")
            continue
        try:
            solution = RUNGS[name](request, catalogs, settings, index_folders)
        except NoSolution as refusal:
            said.append(f"{name}: {refusal}")
            continue
        if solution.quality == Quality.VERIFIED or settings.require != "verified":
            return _finished(solution, said, started)
        said.append(f"{name}: provisional only, with {solution.n_matched} stars")
    raise NoSolution(f"no WCS from {len(request.x)} stars", [*idle, *said])


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


def _finished(solution: Solution, said: Sequence[str], started: float) -> Solution:
    return replace(solution, warnings=(*solution.warnings, *said), seconds=time.monotonic() - started)
