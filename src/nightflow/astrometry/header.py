"""The rung that starts from the WCS in the frame's own header.

How much of it is believed is the profile's choice: all of it, or scale and rotation only. In the
second case nothing but a shift is looked for, and three catalogue stars are enough for a provisional
solution: good for photometry, no claim on positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb

import numpy as np
from numpy.typing import NDArray

from nightflow.astrometry.accept import solution_from
from nightflow.astrometry.geometry import field_radius, geometry
from nightflow.astrometry.matching import mutual_pairs
from nightflow.astrometry.plate import Plate, plate_from_wcs
from nightflow.astrometry.previous import moved, solve_shifted, stars_on_frame
from nightflow.astrometry.refine import Fit, in_frame
from nightflow.astrometry.solution import Quality, Solution, SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["solve_header"]

MINIMUM_SUPPORT = 3
_SHIFT_LIMIT_ARCSEC = 180.0
_SHIFT_LIMIT = 0.05
"""In units of the frame's smaller side; the larger of the two counts, so that coarse cameras have one too."""
_SUPPORT_RADIUS_ARCSEC = 2.0
_SUPPORT_RADIUS_PX = 0.6
"""The larger of the two counts, as for left-out stars of a verified solution."""
_MAGNITUDE_SCATTER = 0.5
_CATALOG_STARS = 60
_CHANCE_LIMIT = 1e-3
"""Shifts as well supported that chance may be expected to produce."""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A shift with the stars that agree on it in position and brightness.

    ``seen`` and ``stars`` are rows of the detections and of the predicted stars.
    """

    dx: float
    dy: float
    seen: NDArray[np.intp]
    stars: NDArray[np.intp]
    scatter: float

    @property
    def rank(self) -> tuple[int, float]:
        return len(self.seen), -self.scatter


def solve_header(request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings) -> Solution:
    """Solve a frame from the WCS in its header, as far as the profile trusts it.

    Returns
    -------
    Solution
        Verified where the profile trusts the header fully and the catalogue confirms it; else provisional.

    Raises
    ------
    NoSolution
        The header holds no WCS, the profile does not trust it, its scale is not the camera's, the
        catalogue contradicts it, or no shift is supported by three stars and without a rival.
    """
    if settings.trust_header == "none":
        raise NoSolution("the profile does not trust the header's WCS")
    if request.header_wcs is None:
        raise NoSolution("the header holds no WCS that reads")
    plate = plate_from_wcs(request.header_wcs, request.shape)
    _check_scale(plate, request)
    if settings.trust_header == "full":
        return _solve_trusted(plate, request, catalogs, settings)
    return _solve_by_shift(plate, request, catalogs, settings)


def _check_scale(plate: Plate, request: SolveRequest) -> None:
    if request.scale is not None and abs(plate.scale / request.scale - 1.0) > request.scale_tolerance:
        raise NoSolution(
            f"the header's scale of {plate.scale:.3f}\"/px is not the camera's {request.scale:.3f}\"/px"
        )


def _solve_trusted(
    plate: Plate, request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings
) -> Solution:
    """Verify the header's WCS where a catalogue covers the frame, else pass it on as provisional."""
    assert request.header_wcs is not None
    radius = field_radius(request.shape, plate.scale)
    ra, dec = plate.sky(np.array([plate.x0]), np.array([plate.y0]))
    covering = catalogs.covering(float(ra[0]), float(dec[0]), radius, settings.catalogs)
    enough = [
        name
        for name in covering
        if len(catalogs.cone(name, float(ra[0]), float(dec[0]), radius)) >= settings.minimum_matches
    ]
    if enough and len(request.x):
        try:
            return solve_shifted(plate, request, catalogs, settings, backend="header")
        except NoSolution as refused:
            # Too few stars to verify it; three that agree still make it good enough for photometry.
            solution = _solve_by_shift(plate, request, catalogs, settings)
            return replace(solution, warnings=(*solution.warnings, f"not verified: {refused}"))
    place = geometry(request.header_wcs, request.shape)
    return Solution(
        wcs=request.header_wcs,
        backend="header",
        quality=Quality.PROVISIONAL,
        rms_arcsec=float("nan"),
        heldout_rms_arcsec=float("nan"),
        n_matched=0,
        ra_center=place.ra_center,
        dec_center=place.dec_center,
        scale=place.scale,
        rotation=place.rotation,
        parity=place.parity,
        catalog="",
        warnings=("the header's WCS is taken as it is: no local catalogue covers the frame to verify it",),
    )


def _solve_by_shift(
    plate: Plate, request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings
) -> Solution:
    shift_limit = _shift_limit_px(plate.scale, request.shape)
    margin = shift_limit / float(np.hypot(*request.shape))
    stars = stars_on_frame(plate, request, catalogs, settings, margin=margin, minimum=MINIMUM_SUPPORT)
    # brightness decides with so few stars: those of unknown brightness cannot take part
    stars = stars.take(np.flatnonzero(np.isfinite(stars.brightness()))[:_CATALOG_STARS])
    predicted, stars = in_frame(plate, stars, request.shape, margin=shift_limit)
    offsets = _proposals(request, predicted, shift_limit)
    best, rival = _best_two(_candidates(request, predicted, stars, plate.scale, offsets))
    if best is None:
        raise NoSolution(
            f'no shift within {shift_limit * plate.scale:.0f}" brings {MINIMUM_SUPPORT} of {len(stars)} '
            f"stars of {stars.catalog} onto detections within "
            f'{_support_radius_px(plate.scale) * plate.scale:.3g}" at consistent brightness'
        )
    if rival is not None and len(rival.seen) >= len(best.seen):
        raise NoSolution(
            f"ambiguous: shifts of ({best.dx:.0f}, {best.dy:.0f}) and ({rival.dx:.0f}, {rival.dy:.0f}) px "
            f"are both supported by {len(best.seen)} stars"
        )
    chance = _chance(best, request, stars, len(predicted), plate.scale, shift_limit)
    if chance > _CHANCE_LIMIT:
        raise NoSolution(
            f"a shift of ({best.dx:.0f}, {best.dy:.0f}) px is supported by {len(best.seen)} stars, but "
            f"among {len(request.x)} detections chance would do as well {chance:.1g} times "
            f"(limit {_CHANCE_LIMIT:g})"
        )
    fit = _fit(moved(plate, best.dx, best.dy), best, request, stars)
    solution = solution_from(
        fit,
        request,
        stars,
        backend="header",
        quality=Quality.PROVISIONAL,
        warnings=(
            f"only a shift of ({best.dx:.1f}, {best.dy:.1f}) px was fitted, to {len(best.seen)} stars: "
            "no claim on positions",
        ),
    )
    return replace(solution, hypotheses=len(offsets))


def _shift_limit_px(scale: float, shape: tuple[int, int]) -> float:
    """Return how far (pixels) the header may be off where a pixel has ``scale`` arcsec."""
    return max(_SHIFT_LIMIT_ARCSEC / scale, _SHIFT_LIMIT * min(shape))


def _support_radius_px(scale: float) -> float:
    """Return within how many pixels of each other stars must agree on a shift."""
    return max(_SUPPORT_RADIUS_ARCSEC / scale, _SUPPORT_RADIUS_PX)


def _proposals(
    request: SolveRequest, predicted: NDArray[np.float64], shift_limit: float
) -> NDArray[np.float64]:
    """Return the shifts that pairs of star and detection propose, shape (n, 2)."""
    seen = np.column_stack([request.x, request.y])
    offsets = (seen[None, :, :] - predicted[:, None, :]).reshape(-1, 2)
    return np.asarray(offsets[np.hypot(*offsets.T) <= shift_limit], np.float64)


def _candidates(
    request: SolveRequest,
    predicted: NDArray[np.float64],
    stars: ReferenceStars,
    scale: float,
    offsets: NDArray[np.float64],
) -> list[_Candidate]:
    """Return each proposed shift that enough stars support."""
    seen = np.column_stack([request.x, request.y])
    radius = _support_radius_px(scale)
    magnitude = -2.5 * np.log10(np.maximum(request.flux, 1e-6))
    found = []
    for offset in offsets:
        candidate = _supported(offset, seen, predicted, magnitude, stars.brightness(), radius)
        if candidate is not None:
            found.append(candidate)
    return found


def _supported(
    offset: NDArray[np.float64],
    seen: NDArray[np.float64],
    predicted: NDArray[np.float64],
    magnitude: NDArray[np.float64],
    reference: NDArray[np.float64],
    radius: float,
) -> _Candidate | None:
    """Return the candidate of one proposed shift, centred on its own stars, or None."""
    rows, refs = mutual_pairs(seen, predicted + offset, 2.0 * radius)
    if len(rows) < MINIMUM_SUPPORT:
        return None
    zero_points = reference[refs] - magnitude[rows]
    usable = np.abs(zero_points - np.median(zero_points)) <= _MAGNITUDE_SCATTER
    rows, refs = rows[usable], refs[usable]
    differences = seen[rows] - predicted[refs]
    for _ in range(2):
        if len(differences) < MINIMUM_SUPPORT:
            return None
        centre = differences.mean(axis=0)
        near = np.hypot(*(differences - centre).T) <= radius
        rows, refs, differences = rows[near], refs[near], differences[near]
    if len(rows) < MINIMUM_SUPPORT:
        return None
    centre = differences.mean(axis=0)
    scatter = float(np.sqrt(np.mean(np.sum((differences - centre) ** 2, axis=1))))
    return _Candidate(dx=float(centre[0]), dy=float(centre[1]), seen=rows, stars=refs, scatter=scatter)


def _best_two(candidates: list[_Candidate]) -> tuple[_Candidate | None, _Candidate | None]:
    """Return the best candidate and the best that does not share most of its stars."""
    if not candidates:
        return None, None
    ranked = sorted(candidates, key=lambda candidate: candidate.rank, reverse=True)
    best = ranked[0]
    pairs = set(zip(best.seen.tolist(), best.stars.tolist(), strict=True))
    for other in ranked[1:]:
        shared = pairs & set(zip(other.seen.tolist(), other.stars.tolist(), strict=True))
        if 2 * len(shared) < len(other.seen):
            return best, other
    return best, None


def _chance(
    best: _Candidate,
    request: SolveRequest,
    stars: ReferenceStars,
    n_stars: int,
    scale: float,
    shift_limit: float,
) -> float:
    """Return how many shifts as well supported as ``best`` are to be expected by chance.

    A shift is proposed by any star and any detection at least as bright as those of ``best``; each
    further star is then met by a detection of its own brightness with the probability ``p``.
    """
    area = float(np.prod(request.shape))
    magnitude = -2.5 * np.log10(np.maximum(request.flux, 1e-6))
    zero_point = float(np.median(stars.brightness()[best.stars] - magnitude[best.seen]))
    faintest = float(magnitude[best.seen].max()) + _MAGNITUDE_SCATTER
    wanted = stars.brightness()[best.stars] - zero_point
    alike = np.abs(magnitude[None, :] - wanted[:, None]) <= _MAGNITUDE_SCATTER
    cell = np.pi * _support_radius_px(scale) ** 2 / area
    p = np.clip(alike.sum(axis=1), 1, 1.0 / cell) * cell
    further = len(best.seen) - 1
    searched = min(np.pi * shift_limit**2 / area, 1.0)
    proposals = n_stars * float((magnitude <= faintest).sum()) * searched
    return float(proposals * comb(n_stars - 1, further) * np.exp(np.mean(np.log(p)) * further))


def _fit(plate: Plate, best: _Candidate, request: SolveRequest, stars: ReferenceStars) -> Fit:
    return Fit(
        plate=plate,
        x=request.x[best.seen],
        y=request.y[best.seen],
        flux=request.flux[best.seen],
        error=request.position_errors()[best.seen],
        ra=stars.ra[best.stars],
        dec=stars.dec[best.stars],
        mag=stars.brightness()[best.stars],
        radius=_support_radius_px(plate.scale),
    )
