"""What the rungs share that ask a solver of other people: what it is asked, and whether it is believed.

Such a solver claims a WCS from a list of star places. A claim is no more than a first guess of the plate: it
is refined and verified on our own reference stars by the bar of `nightflow.astrometry.verify`, as any other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, NoConvergence
from numpy.typing import NDArray

from nightflow.astrometry.accept import match_radius_px, verified
from nightflow.astrometry.geometry import field_radius
from nightflow.astrometry.plate import Plate, plate_from_wcs
from nightflow.astrometry.previous import stars_on_frame
from nightflow.astrometry.reference import reference_stars
from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.astrometry.spread import cell_size, evenly
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.external import ProgramError
from nightflow.instruments.profile import AstrometrySettings

__all__ = [
    "Attempt",
    "attempts",
    "believed",
    "first_believed",
    "require_verifiable",
    "scale_range",
    "star_places",
]

_STARS = 60
_HINTED_SHARE = 0.2
_BLIND_SHARE = 0.25
"""Shares of the rung's time limit. A solvable frame takes well under a second, also blind on all of Tycho-2;
one that cannot be solved would take minutes where the scale is unknown."""
_WIDEST_FIELD = 15.0
"""Degrees from the middle to a corner where the scale is unknown."""
_HYPOTHESES = 10_000
"""Such a solver does not say how many quads it tried; it is some thousands for a frame."""
_START_RADIUS = 0.01
_NO_CARDS = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "END", "", "COMMENT", "HISTORY")
_FARTHEST_SCALE = 3600.0
"""Arcsec per pixel beyond which a claim is nonsense."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One question to the solver.

    Attributes
    ----------
    label : str
        "with hints" or "blind".
    seconds : float
        Of CPU time.
    position : tuple of float, or None
        Right ascension and declination of the hint, and the radius within which the frame lies, degrees.
    """

    label: str
    seconds: float
    position: tuple[float, float, float] | None = None


def require_verifiable(request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings) -> None:
    """Raise `NoSolution` where no claim could ever be verified: too few stars, or no catalogue."""
    if len(request.x) < settings.minimum_matches:
        raise NoSolution(f"{len(request.x)} stars detected, {settings.minimum_matches} needed")
    if not catalogs.names():
        raise NoSolution(
            "no local catalogue that could verify a solution; import one with `nightflow catalog import`"
        )


def attempts(request: SolveRequest) -> list[Attempt]:
    """Return what to ask: with the hints, where there are any, then blind."""
    blind = Attempt(label="blind", seconds=_BLIND_SHARE * request.time_limit)
    if request.ra is None or request.dec is None:
        return [blind]
    seconds = _HINTED_SHARE * request.time_limit
    position = (request.ra % 360.0, request.dec, request.hint_error + _radius(request))
    return [Attempt(label="with hints", seconds=seconds, position=position), blind]


def first_believed(
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    ask: Callable[[Attempt], fits.Header],
    *,
    backend: str,
    notes: Sequence[str] = (),
) -> Solution:
    """Ask with the hints, then blind, and return the first claim that is verified.

    Parameters
    ----------
    ask : callable
        Puts one question and returns the claimed WCS.
    notes : sequence of str
        What a reader should know in any case, such as index files that were left out.

    Raises
    ------
    NoSolution
        None is; the message says what became of each attempt.
    """
    said = []
    for attempt in attempts(request):
        try:
            if attempt.position is not None:
                _require_reference(attempt.position, request, catalogs, settings)
            solution = believed(ask(attempt), request, catalogs, settings, backend=backend)
            return replace(solution, warnings=(*solution.warnings, *notes))
        except (NoSolution, ProgramError) as refusal:
            said.append(f"{attempt.label}: {refusal}")
    raise NoSolution("; ".join([*said, *notes]))


def believed(
    claim: fits.Header,
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    *,
    backend: str,
) -> Solution:
    """Refine and verify a claimed WCS.

    Raises
    ------
    NoSolution
        It is no WCS of the sky, no catalogue covers it, or it does not pass the bar.
    """
    plate = _plate(claim, request.shape)
    stars = stars_on_frame(plate, request, catalogs, settings, margin=0.1, minimum=settings.minimum_matches)
    start_radius = _START_RADIUS * float(np.hypot(*request.shape))
    return verified(
        plate,
        request,
        settings,
        stars,
        backend=backend,
        start_radius=max(start_radius, match_radius_px(settings, plate.scale)),
        hypotheses=_HYPOTHESES,
    )


def star_places(request: SolveRequest) -> NDArray[np.float64]:
    """Return the places, shape (n, 2), of the stars to send: 1-based, spread evenly, brightest first."""
    rows = evenly(request.x, request.y, request.flux, cell_size(request.shape), _STARS)
    # 1-based: the answer's reference pixel is then a FITS one
    return np.column_stack([request.x[rows] + 1.0, request.y[rows] + 1.0])


def scale_range(request: SolveRequest) -> tuple[float, float] | None:
    """Return the smallest and the largest scale (arcsec per pixel) that the frame may have; None: unknown."""
    if request.scale is None:
        return None
    tolerance = min(request.scale_tolerance, 0.9)
    return request.scale * (1.0 - tolerance), request.scale * (1.0 + tolerance)


def _radius(request: SolveRequest) -> float:
    return field_radius(request.shape, request.scale) if request.scale is not None else _WIDEST_FIELD


def _require_reference(
    position: tuple[float, float, float],
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
) -> None:
    """Raise `NoSolution` where whatever the solver found around the hint could not be verified."""
    ra, dec, radius = position
    reference_stars(
        catalogs, request, settings, ra=ra, dec=dec, radius=radius, minimum=settings.minimum_matches
    )


def _plate(claim: fits.Header, shape: tuple[int, int]) -> Plate:
    """Return the plate of a claim; what a program or a server sends may be anything."""
    header = fits.Header([card for card in claim.cards if card.keyword not in _NO_CARDS])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            wcs = WCS(header)
            plate = plate_from_wcs(wcs, shape) if wcs.has_celestial and wcs.naxis == 2 else None
    except (ValueError, ArithmeticError, KeyError, TypeError, NoConvergence, fits.VerifyError) as error:
        raise NoSolution(f"the claimed WCS cannot be read: {error}") from error
    if plate is None or not 0.0 < plate.scale < _FARTHEST_SCALE or not np.isfinite(plate.ra0 + plate.dec0):
        raise NoSolution("the claimed WCS is none of the sky")
    return plate
