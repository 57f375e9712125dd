"""Step `solve`: the frame's WCS, verified."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.wcs import WCS

from nightflow.astrometry.ladder import select_stars
from nightflow.astrometry.ladder import solve as climb
from nightflow.astrometry.nova import NovaAccess
from nightflow.astrometry.solution import Quality, Solution, SolveRequest
from nightflow.epochs import julian_year
from nightflow.errors import NoSolution
from nightflow.instruments.header_wcs import header_wcs, on_chip
from nightflow.pipeline.optics import known_distortions
from nightflow.pipeline.work import Context, Work
from nightflow.sources.table import SourceTable

__all__ = ["footprint_radius", "solve", "solve_request"]

_STARS = 300
_RANK = {Quality.NONE: 0, Quality.PROVISIONAL: 1, Quality.VERIFIED: 2}


def solve(work: Work, context: Context) -> dict[str, Any]:
    """Find the WCS and write it into the frame.

    Raises
    ------
    NoSolution
        No rung of the ladder found a solution that passes the profile's bar.
    """
    assert work.frame is not None
    assert work.measured is not None
    settings = work.profile.astrometry
    request = solve_request(work, context, work.measured.sources)
    known = known_distortions(context.database, work.header, request.shape)
    request = replace(request, distortions=known)
    work.offered = tuple(one.fingerprint for one in known)
    try:
        solution = context.joint.get(work.frame_id) or climb(
            request,
            context.catalogs,
            settings,
            context.index_folders,
            order=context.settings.astrometry.ladder,
            nova=_nova(context),
        )
    except NoSolution as error:
        if settings.require == "none":
            work.warnings.append(f"no WCS: {error}")
            return {"wcs_quality": str(Quality.NONE)}
        raise
    if _RANK[solution.quality] < _RANK[Quality(settings.require)]:
        raise NoSolution(
            f"{work.path.name}: the WCS by {solution.backend} is {solution.quality}, "
            f"{work.profile.name} requires {settings.require}"
        )
    _accept(work, context, solution)
    return {
        "wcs_backend": solution.backend,
        "wcs_quality": str(solution.quality),
        "wcs_rms_arcsec": round(solution.rms_arcsec, 3),
        "wcs_n_matched": solution.n_matched,
        **({"wcs_distortion": solution.lent.fingerprint[:12]} if solution.lent is not None else {}),
    }


def _nova(context: Context) -> NovaAccess:
    site = context.settings.astrometry
    return NovaAccess(key=site.nova_key.get_secret_value(), url=site.nova_url, seconds=site.nova_seconds)


def solve_request(work: Work, context: Context, sources: SourceTable, limit: int = _STARS) -> SolveRequest:
    """Return what a solver gets of a frame: up to ``limit`` of its stars, and what its header says."""
    assert work.frame is not None
    header, settings = work.header, work.profile.astrometry
    shape = (work.frame.data.shape[0], work.frame.data.shape[1])
    stars = sources.take(select_stars(sources, shape, limit))
    return SolveRequest(
        x=stars.x,
        y=stars.y,
        flux=stars.flux,
        position_error=np.hypot(stars.x_err, stars.y_err) / math.sqrt(2.0),
        shape=shape,
        ra=header.ra,
        dec=header.dec,
        hint_error=settings.hint_error,
        scale=_scale(work),
        scale_tolerance=settings.scale_tolerance,
        parity=settings.parity,
        epoch=julian_year(header.mjd_mid) if header.mjd_mid is not None else 2000.0,
        header_wcs=_trusted_wcs(work),
        previous_wcs=context.pointings.recall(header.instrument, header.detector, header.ra, header.dec),
        time_limit=settings.time_limit,
    )


def _scale(work: Work) -> float | None:
    settings = work.profile.astrometry
    if settings.scale is None:
        return None
    return settings.scale * work.header.binning[0] / settings.scale_binning


def _trusted_wcs(work: Work) -> WCS | None:
    """Return the raw header's WCS on the trimmed pixel grid, where the profile trusts it."""
    assert work.frame is not None
    if work.profile.astrometry.trust_header == "none":
        return None
    wcs = header_wcs(work.frame.raw_header)
    return None if wcs is None else on_chip(wcs, work.header)


def _accept(work: Work, context: Context, solution: Solution) -> None:
    work.solution = solution
    work.warnings.extend(solution.warnings)
    assert work.frame is not None
    work.frame = work.frame.after(
        f"solve: {solution.quality} by {solution.backend}, {solution.n_matched} stars, "
        f"rms {solution.rms_arcsec:.3f} arcsec{_corners(solution)}{_lent(solution)}",
        wcs=solution.wcs,
    )
    if solution.quality is Quality.VERIFIED:
        _remember(work, context, solution)


def _corners(solution: Solution) -> str:
    evidence = solution.evidence
    return "" if evidence is None else f", corners to {evidence.corner_error_arcsec:.3f} arcsec"


def _lent(solution: Solution) -> str:
    lent = solution.lent
    return "" if lent is None else f", distortion {lent.fingerprint[:12]} of {lent.n_frames} frames"


def _remember(work: Work, context: Context, solution: Solution) -> None:
    """Keep the solution for the frames that follow, under the place that their headers will name."""
    header = work.header
    if header.ra is not None and header.dec is not None:
        ra, dec = header.ra, header.dec
    else:
        ra, dec = solution.ra_center, solution.dec_center
    context.pointings.remember(header.instrument, header.detector, ra, dec, solution.wcs)


def footprint_radius(solution: Solution, shape: tuple[int, int]) -> float:
    """Return the radius in degrees of the circle round the frame's middle that holds its corners."""
    return 0.5 * math.hypot(*shape) * solution.scale / 3600.0
