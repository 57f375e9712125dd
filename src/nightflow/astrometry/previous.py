"""Start from a WCS that is right but for a shift: find the shift, then refine and verify."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nightflow.astrometry.accept import verified
from nightflow.astrometry.geometry import field_radius
from nightflow.astrometry.matching import vote_shift
from nightflow.astrometry.plate import Plate, plate_from_wcs
from nightflow.astrometry.reference import reference_stars
from nightflow.astrometry.refine import in_frame
from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["NO_EARLIER_SOLUTION", "moved", "solve_previous", "solve_shifted", "stars_on_frame"]

NO_EARLIER_SOLUTION = "no earlier solution of this pointing"

_BRIGHTEST = 80
_SHIFT_LIMIT = 0.4
"""Longest shift in units of the frame's smaller side."""
_VOTE_RADIUS = 0.004
"""Pixels by which votes may differ, in units of the diagonal: a little rotation, a little distortion."""
_MINIMUM_VOTE_RADIUS = 3.0


def solve_previous(request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings) -> Solution:
    """Solve a frame from the last solution of this pointing.

    Raises
    ------
    NoSolution
        There is none, or the frame is not a shifted copy of it.
    """
    if request.previous_wcs is None:
        raise NoSolution(NO_EARLIER_SOLUTION)
    plate = plate_from_wcs(request.previous_wcs, request.shape)
    return solve_shifted(plate, request, catalogs, settings, backend="previous")


def solve_shifted(
    plate: Plate,
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    *,
    backend: str,
) -> Solution:
    """Solve a frame of which ``plate`` is right but for a shift of up to 0.4 of the frame.

    Raises
    ------
    NoSolution
        No catalogue, no shift that stars agree on, or the refined solution does not pass the bar.
    """
    stars = stars_on_frame(
        plate, request, catalogs, settings, margin=_SHIFT_LIMIT, minimum=settings.minimum_matches
    )
    limit = _SHIFT_LIMIT * min(request.shape)
    predicted, _ = in_frame(plate, stars, request.shape, margin=limit)
    seen = np.column_stack([request.x, request.y])
    radius = max(_VOTE_RADIUS * float(np.hypot(*request.shape)), _MINIMUM_VOTE_RADIUS)
    shift = vote_shift(seen[:_BRIGHTEST], predicted[:_BRIGHTEST], limit=limit, radius=radius)
    if shift is None or shift.support < 3:
        raise NoSolution(f"no shift brings 3 of {len(predicted)} catalogue stars onto detections")
    guess, start_radius = moved(plate, shift.dx, shift.dy), 1.5 * radius
    # the shift is known: three quarters of the stars can no longer come onto the frame
    _, near = in_frame(guess, stars, request.shape, margin=2.0 * start_radius)
    return verified(
        guess,
        request,
        settings,
        near,
        backend=backend,
        start_radius=start_radius,
        hypotheses=shift.tried,
    )


def stars_on_frame(
    plate: Plate,
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    *,
    margin: float,
    minimum: int,
) -> ReferenceStars:
    """Return the reference stars of the frame and of ``margin`` (in frames) around it.

    Raises
    ------
    NoSolution
        No catalogue has ``minimum`` stars there.
    """
    middle = np.array([(request.shape[1] - 1) / 2.0]), np.array([(request.shape[0] - 1) / 2.0])
    ra, dec = plate.sky(*middle)
    return reference_stars(
        catalogs,
        request,
        settings,
        ra=float(ra[0]),
        dec=float(dec[0]),
        radius=field_radius(request.shape, plate.scale) * (1.0 + 2.0 * margin),
        minimum=minimum,
    )


def moved(plate: Plate, dx: float, dy: float) -> Plate:
    """Return ``plate`` for a frame on which every star lies (dx, dy) pixels further."""
    return replace(plate, x0=plate.x0 + dx, y0=plate.y0 + dy)
