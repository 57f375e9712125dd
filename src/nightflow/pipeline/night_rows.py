"""The rows of the store that hold the solution of a night."""

from __future__ import annotations

import numpy as np

from nightflow.photcal.night import NightSolution
from nightflow.pipeline.night_series import Series
from nightflow.store.models import NightSolution as SolutionRow
from nightflow.store.models import NightZeroPoint

__all__ = ["PRECISION", "rounded", "solution_rows"]

PRECISION = 6
"""Decimals: so that the same night gives the same rows."""


def solution_rows(
    night: str, series: Series, found: NightSolution
) -> tuple[SolutionRow, list[NightZeroPoint]]:
    """Return the row of a solution and those of its frames, without numbers.

    Parameters
    ----------
    night : str
        Date of the evening.
    series : Series
        What was solved.
    found : NightSolution
    """
    first, air = series.frames[0], found.air
    zero_point, error = _reference_zero_point(found)
    solution = SolutionRow(
        night=night,
        instrument=first.instrument,
        detector=first.detector,
        filter=first.filter,
        catalog=series.stars.catalog,
        band=series.choice.description,
        mag_system=series.choice.system,
        color="-".join(series.choice.color or ()) if found.color_term is not None else "",
        n_frames=int(np.isfinite(found.zero_point).sum()),
        n_clear=int(air.clear.sum()),
        n_stars=found.n_stars,
        n_measurements=found.n_measurements,
        n_rejected=len(found.rejected),
        color_term=rounded(found.color_term),
        color_term_err=rounded(found.color_term_error),
        color_extinction=rounded(found.color_extinction),
        color_extinction_err=rounded(found.color_extinction_error),
        pivot=round(found.pivot, PRECISION),
        extinction=rounded(found.extinction),
        extinction_err=rounded(found.extinction_error),
        extinction_color=round(found.extinction_color, PRECISION),
        zp=round(zero_point, PRECISION),
        zp_err=round(error, PRECISION),
        transparency_scatter=round(air.scatter, PRECISION),
        star_scatter=round(found.star_scatter, PRECISION),
        noise=round(found.noise, PRECISION),
        reason=air.reason,
    )
    return solution, _zero_points(series, found)


def _reference_zero_point(found: NightSolution) -> tuple[float, float]:
    """Return that above the atmosphere; without extinction the frames' median, with their scatter."""
    if found.above is not None and found.above_error is not None:
        return found.above, found.above_error
    seen = np.isfinite(found.zero_point)
    middle, common = float(np.median(found.zero_point[seen])), float(np.median(found.error[seen]))
    return middle, float(np.hypot(common, found.air.scatter / np.sqrt(seen.sum())))


def _zero_points(series: Series, found: NightSolution) -> list[NightZeroPoint]:
    seen = np.flatnonzero(np.isfinite(found.zero_point))
    return [
        NightZeroPoint(
            reduction_id=series.frames[row].reduction_id,
            solution_id=0,
            zp=round(float(found.zero_point[row]), PRECISION),
            zp_err=round(float(found.error[row]), PRECISION),
            zp_err_own=round(float(found.own_error[row]), PRECISION),
            loss=rounded(float(loss)) if np.isfinite(loss) else None,
        )
        for row, loss in zip(seen, found.air.loss, strict=True)
    ]


def rounded(value: float | None) -> float | None:
    """Return a value to the decimals of `PRECISION`."""
    return None if value is None else round(value, PRECISION)
