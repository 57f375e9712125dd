"""From a first guess of the plate to a verified solution: the way all rungs share."""

from __future__ import annotations

import time
from dataclasses import replace

from nightflow.astrometry.geometry import geometry
from nightflow.astrometry.models import fitted_models
from nightflow.astrometry.plate import Plate
from nightflow.astrometry.refine import Fit, radial_rms
from nightflow.astrometry.solution import FittedStars, Quality, Solution, SolveRequest
from nightflow.astrometry.verify import examine, faults
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["WALL_OVER_CPU", "Deadline", "match_radius_px", "solution_from", "verified"]

_MINIMUM_RADIUS_PX = 1.5


WALL_OVER_CPU = 4.0
"""Wall time, in units of the limit of CPU time, after which a search is given up on any machine."""


class Deadline:
    """A time limit that inner loops can ask.

    It counts the CPU time of the thread that made it, which has to be the one that asks: whether a frame is
    solved must not depend on what else the machine does. A wall time well above it bounds the rest.

    Parameters
    ----------
    seconds : float
        Of CPU time, from now.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cpu_end = time.thread_time() + seconds
        self._wall_end = time.monotonic() + WALL_OVER_CPU * seconds

    def check(self) -> None:
        """Raise `NoSolution` once the time is over."""
        if time.thread_time() >= self._cpu_end:
            raise NoSolution(f"gave up after the time limit of {self._seconds:g} s")
        if time.monotonic() >= self._wall_end:
            raise NoSolution(
                f"gave up after {WALL_OVER_CPU * self._seconds:g} s: the machine is too busy for the "
                f"{self._seconds:g} s of CPU time that a search may take"
            )


def match_radius_px(settings: AstrometrySettings, scale: float) -> float:
    """Return the final match radius in pixels for ``scale`` in arcsec per pixel."""
    return max(settings.match_radius / scale, _MINIMUM_RADIUS_PX)


def verified(
    guess: Plate,
    request: SolveRequest,
    settings: AstrometrySettings,
    stars: ReferenceStars,
    *,
    backend: str,
    start_radius: float,
    hypotheses: int,
) -> Solution:
    """Refine ``guess`` and return it as a verified solution.

    Parameters
    ----------
    start_radius : float
        Pixels by which the guess may be off anywhere on the frame.
    hypotheses : int
        Candidates among which the guess won; a lucky one among many proves little.

    Raises
    ------
    NoSolution
        It does not pass the bar of `nightflow.astrometry.verify`; the message says by what.
    """
    models = fitted_models(
        guess, request, stars, start_radius=start_radius, final_radius=match_radius_px(settings, guess.scale)
    )
    refusals = []
    for fit, lent in models.by_merit():
        if len(fit) < 3:
            refusals.append(f"{len(fit)} stars matched, {settings.minimum_matches} needed")
            continue
        evidence = examine(fit, request, stars, hypotheses=hypotheses * models.tried)
        objections = faults(evidence, request, settings)
        if objections:
            refusals.append("candidate refused: " + ", ".join(objections))
            continue
        solution = solution_from(
            fit,
            request,
            stars,
            backend=backend,
            quality=Quality.VERIFIED,
            heldout=evidence.heldout_rms_arcsec,
        )
        evidence = evidence if lent is None else evidence.with_lent(lent.scatter_px * fit.plate.scale)
        tried = hypotheses * models.tried
        return replace(solution, evidence=evidence, lent=lent, hypotheses=tried)
    raise NoSolution(refusals[0])


def solution_from(
    fit: Fit,
    request: SolveRequest,
    stars: ReferenceStars,
    *,
    backend: str,
    quality: Quality,
    heldout: float = float("nan"),
    warnings: tuple[str, ...] = (),
) -> Solution:
    """Return ``fit`` as a solution of the given quality."""
    wcs = fit.plate.to_wcs(request.shape)
    place = geometry(wcs, request.shape)
    return Solution(
        wcs=wcs,
        backend=backend,
        quality=quality,
        rms_arcsec=radial_rms(fit),
        heldout_rms_arcsec=heldout,
        n_matched=len(fit),
        ra_center=place.ra_center,
        dec_center=place.dec_center,
        scale=place.scale,
        rotation=place.rotation,
        parity=place.parity,
        catalog=stars.catalog,
        warnings=warnings,
        stars=_stars(fit),
    )


def _stars(fit: Fit) -> FittedStars:
    x, y = fit.plate.pixels(fit.ra, fit.dec)
    return FittedStars(
        x=fit.x, y=fit.y, dx=fit.x - x, dy=fit.y - y, ra=fit.ra, dec=fit.dec, mag=fit.mag, error=fit.sigma
    )
