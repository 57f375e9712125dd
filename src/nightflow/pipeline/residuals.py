"""The residuals of a frame's WCS, for a picture or a table."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np

from nightflow.pipeline.work import Work
from nightflow.report.residuals import FrameResiduals
from nightflow.store.database import Database
from nightflow.store.distortions import fitted_stars
from nightflow.store.frames import frames_of
from nightflow.store.models import Exposure, Frame, Reduction, WcsStars
from nightflow.store.overview import current_reduction

__all__ = ["STAR_COLUMNS", "exposure_residuals", "star_rows", "work_residuals"]

STAR_COLUMNS = ("detector", "x", "y", "dx", "dy", "ra", "dec", "mag", "error")


def exposure_residuals(database: Database, exposure: Exposure) -> dict[str, FrameResiduals]:
    """Return detector -> residuals of each frame of an exposure whose WCS is verified, from the store."""
    found = {}
    for frame in frames_of(database, exposure.id or 0):
        reduction = current_reduction(database, frame.id or 0)
        stars = None if reduction is None else fitted_stars(database, reduction.id or 0)
        if reduction is not None and stars is not None:
            found[frame.detector] = _stored(exposure, frame, reduction, stars)
    return found


def work_residuals(work: Work) -> FrameResiduals | None:
    """Return the residuals of a frame that has just been reduced; None where its WCS is not verified."""
    solution = work.solution
    if solution is None or solution.stars is None or solution.evidence is None or work.frame is None:
        return None
    stars = solution.stars
    return FrameResiduals(
        title=work.path.name,
        shape=(work.frame.data.shape[0], work.frame.data.shape[1]),
        scale=solution.scale,
        x=stars.x,
        y=stars.y,
        dx=stars.dx,
        dy=stars.dy,
        mag=stars.mag,
        corner_errors_arcsec=solution.evidence.corner_errors_arcsec,
        facts=_facts(
            solution.backend,
            len(stars),
            solution.rms_arcsec,
            solution.heldout_rms_arcsec,
            solution.evidence.corner_rms_arcsec,
            solution.lent is not None,
        ),
    )


def star_rows(
    found: dict[str, FrameResiduals], database: Database, exposure: Exposure
) -> list[dict[str, Any]]:
    """Return a row for each star of `exposure_residuals`, with the names of `STAR_COLUMNS`."""
    rows = []
    for frame in frames_of(database, exposure.id or 0):
        reduction = current_reduction(database, frame.id or 0)
        stars = None if reduction is None else fitted_stars(database, reduction.id or 0)
        if stars is not None and frame.detector in found:
            columns = [stars.stars[name] for name in STAR_COLUMNS[1:]]
            rows += [
                dict(zip(STAR_COLUMNS, (frame.detector, *values), strict=True))
                for values in zip(*columns, strict=True)
            ]
    return rows


def _stored(exposure: Exposure, frame: Frame, reduction: Reduction, stars: WcsStars) -> FrameResiduals:
    columns = {name: np.array(values, np.float64) for name, values in stars.stars.items()}
    errors = [np.nan if one is None else one for one in stars.corner_errors_arcsec]
    return FrameResiduals(
        title=PurePath(exposure.path).name + (f", chip {frame.detector}" if frame.detector != "1" else ""),
        shape=stars.shape,
        scale=reduction.scale or float("nan"),
        **{name: columns[name] for name in ("x", "y", "dx", "dy", "mag")},
        corner_errors_arcsec=errors,
        facts=_facts(
            reduction.wcs_backend or "",
            len(columns["x"]),
            reduction.wcs_rms_arcsec,
            reduction.wcs_heldout_rms_arcsec,
            reduction.wcs_corner_rms_arcsec,
            bool(reduction.wcs_distortion),
        ),
    )


def _facts(
    backend: str, n: int, rms: float | None, heldout: float | None, corner: float | None, lent: bool
) -> dict[str, str]:
    known = {"rms": rms, "left-out stars": heldout, "outer stars": corner}
    return {
        "solved by": backend,
        "stars": str(n),
        **{
            name: f'{value:.3f}"' for name, value in known.items() if value is not None and np.isfinite(value)
        },
        "distortion": "lent by other frames" if lent else "its own",
    }
