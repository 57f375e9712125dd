"""Light curves against the ensemble of a field, for statistics of its sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import Flag
from nightflow.lightcurves.ensemble import magnitudes
from nightflow.lightcurves.variability import StarStatistics, star_statistics
from nightflow.store.models import finite
from nightflow.store.statistics_references import TiedFrames
from nightflow.store.statistics_rows import UsableRows

__all__ = ["JudgedCurve", "SourceCurve", "source_curves"]


@dataclass(frozen=True, kw_only=True)
class JudgedCurve:
    """What a star is judged by. Its curve is read again if it varies: not all curves are in memory."""

    row: dict[str, Any]
    statistics: StarStatistics
    brightness: float

    @classmethod
    def of(cls, curve: SourceCurve) -> JudgedCurve:
        """Return what is kept of a curve."""
        return cls(row=curve.row, statistics=curve.statistics, brightness=curve.brightness)


@dataclass(frozen=True, kw_only=True)
class SourceCurve(JudgedCurve):
    """A source's magnitudes with the frames' offsets taken out."""

    time: NDArray[np.float64]
    mag: NDArray[np.float64]
    error: NDArray[np.float64]


def source_curves(setups: list[TiedFrames], rows: UsableRows) -> Iterator[tuple[int, SourceCurve]]:
    """Yield the curve of each source, and the group whose frames have most of its measurements."""
    if not setups or not len(rows.source):
        return
    frames = np.concatenate([one.frames for one in setups])
    group = np.repeat(np.arange(len(setups)), [len(one.frames) for one in setups])
    order = np.argsort(frames)
    frames, group = frames[order], group[order]
    place = np.searchsorted(frames, rows.frame).clip(0, len(frames) - 1)
    known = frames[place] == rows.frame
    bounds = np.flatnonzero(np.diff(rows.source)) + 1
    for part in np.split(np.arange(len(rows.source)), bounds):
        counts = np.bincount(group[place[part[known[part]]]], minlength=len(setups))
        number = int(np.argmax(counts))
        own = rows.take(part)
        mag, error = _without_offsets(setups[number], own)
        good = np.isfinite(mag) & np.isfinite(error) & (error > 0)
        if good.any():
            yield number, _curve(own.take(good), mag[good], error[good])


def _without_offsets(setup: TiedFrames, own: UsableRows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return magnitudes against the ensemble, of which the star itself is no part, and their errors."""
    offsets = setup.offsets
    mag, noise = magnitudes(own.flux, own.flux_err)
    frame = np.searchsorted(setup.frames, own.frame).clip(0, len(setup.frames) - 1)
    known = setup.frames[frame] == own.frame
    star = int(np.searchsorted(setup.references, own.source[0]))
    weight = np.zeros(len(frame))
    if star < len(setup.references) and setup.references[star] == own.source[0]:
        weight = offsets.weight[frame, star]
    total = 1.0 / offsets.variance[frame]
    others = total - weight
    alone = others <= 1e-9 * total
    residual = mag - offsets.frame[frame]
    told = known & np.isfinite(residual)
    middle = np.median(residual[told]) if told.any() else 0.0
    # A star that has pulled the offset towards itself deviates by more from what the others say.
    residual = middle + (residual - middle) * (1.0 + weight / np.where(alone, 1.0, others))
    usable = known & ~alone
    return np.where(usable, residual, np.nan), np.hypot(noise, 1.0 / np.sqrt(np.where(alone, 1.0, others)))


def _curve(own: UsableRows, mag: NDArray[np.float64], error: NDArray[np.float64]) -> SourceCurve:
    statistics = star_statistics(mag, error)
    calibrated = own.mag[np.isfinite(own.mag)]
    widths = own.width[np.isfinite(own.width)]
    row = {
        "source_id": int(own.source[0]),
        "n": statistics.n,
        "mjd_first": float(own.mjd[0]),
        "mjd_last": float(own.mjd[-1]),
        "mag": float(np.median(calibrated)) if len(calibrated) else None,
        "mag_err": statistics.error,
        "scatter": statistics.scatter,
        "chi2_dof": statistics.chi2_dof,
        "stetson_j": finite(statistics.stetson_j),
        "von_neumann": finite(statistics.von_neumann),
        "amplitude": statistics.amplitude,
        "contaminated": float(np.mean((own.flags & int(Flag.NEIGHBOUR)) != 0)),
        "near_edge": float(np.mean(own.near_edge)),
        "width": float(np.median(widths)) if len(widths) else None,
    }
    return SourceCurve(
        row=row, statistics=statistics, brightness=float(np.median(mag)), time=own.bjd, mag=mag, error=error
    )
