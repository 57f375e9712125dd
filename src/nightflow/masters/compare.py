"""Compare a new master with the previous one of its kind, pixel by pixel and area by area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.master_frame import MasterFrame
from nightflow.flags import UNUSABLE
from nightflow.instruments.header import FrameKind
from nightflow.masters.areas import SAMPLES, area_map, area_side, center_of

__all__ = ["Difference", "compare_masters", "is_relative", "large_scale_range"]

AREAS, LARGEST_AREA = 64, 64
"""Areas along the shorter axis of a chip, and their greatest side in pixels: smaller than a thumbprint."""

OUTLYING = 6.0
"""Joint standard deviations beyond which a pixel has changed."""

LEAST_NOISE = 0.3
"""ADU; the scatter that rounding to whole counts alone makes."""

FLAT_FLOOR = 1e-3
"""Relative uncertainty that flats have beside their noise: the colour of the light, its angle."""

_SIGNIFICANT = 6.0
_AREA_ERROR = 1.2 / SAMPLES
"""Standard error of an area's level in units of one pixel's noise."""

_CLIP = 4.0
_ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What has changed from one master to another of the same key.

    Attributes
    ----------
    outliers : float
        Fraction of pixels off by more than `OUTLYING` standard deviations of their joint uncertainty, after
        the smooth change is taken out.
    level : float
        Change of the median: ADU, 0 for flats.
    old_level : float
        Median of the older one.
    noise : float
        Relative change of one input's noise; 0.5 is half as much again.
    unit_noise : float
        ADU: noise of one input's pixel, by which bias and dark changes are judged; 1 for flats.
    gradient : float
        Range over the chip of the smooth change (a paraboloid): ADU, of a flat relative.
    defect : float
        Greatest change of an area against the smooth one, signed: ADU, of a flat relative. 0 where it is not
        significant.
    defect_at : tuple of int
        (x, y) of that area's centre, pixels of the master.
    """

    outliers: float
    level: float
    old_level: float
    noise: float
    unit_noise: float
    gradient: float
    defect: float
    defect_at: tuple[int, int]


def is_relative(kind: FrameKind) -> bool:
    """Return whether a kind of master is a factor about 1 rather than counts."""
    return kind in (FrameKind.FLAT, FrameKind.ILLUMINATION)


def compare_masters(new: MasterFrame, old: MasterFrame) -> Difference:
    """Measure what has changed.

    Parameters
    ----------
    new, old : MasterFrame
        Of one kind and shape.

    Raises
    ------
    ValueError
        They are of different kinds or shapes.
    """
    if new.kind != old.kind or new.data.shape != old.data.shape:
        raise ValueError(
            f"{new.kind} of {new.data.shape} cannot be compared with {old.kind} of {old.data.shape}"
        )
    relative = is_relative(new.kind)
    change, sigma = _change(new, old, relative)
    level = float(np.nanmedian(change)) if np.isfinite(change).any() else 0.0
    change -= np.float32(level)
    side = area_side((change.shape[0], change.shape[1]), AREAS, LARGEST_AREA)
    areas = area_map(change, side)
    smooth = _paraboloid(areas)
    defect, at = _defect(areas - smooth, _AREA_ERROR * float(np.nanmedian(sigma)), side)
    return Difference(
        outliers=_outliers(change, sigma, smooth, side),
        level=0.0 if relative else level,
        old_level=old.statistics.median,
        noise=_relative_change(new.statistics.noise, old.statistics.noise, relative),
        unit_noise=1.0 if relative else max(old.statistics.noise, LEAST_NOISE),
        gradient=float(np.ptp(smooth)) if smooth.size else 0.0,
        defect=defect,
        defect_at=at,
    )


def large_scale_range(master: MasterFrame) -> float:
    """Return the range of a master's areas, without the half percent at each end."""
    plane = np.where((master.flags & int(UNUSABLE)) == 0, master.data, np.float32(np.nan))
    side = area_side((plane.shape[0], plane.shape[1]), AREAS, LARGEST_AREA)
    areas = area_map(plane, side)
    known = areas[np.isfinite(areas)]
    low, high = np.percentile(known, (0.5, 99.5)) if known.size else (0.0, 0.0)
    return float(high - low)


def _change(
    new: MasterFrame, old: MasterFrame, relative: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the change of each pixel and its standard error; NaN where either has no value."""
    usable = ((new.flags | old.flags) & int(UNUSABLE)) == 0
    sigma = np.asarray(np.hypot(new.uncertainty, old.uncertainty), np.float32)
    if not relative:
        change = np.where(usable, new.data - old.data, np.float32(np.nan))
        return change, np.where(usable, sigma, np.float32(np.nan))
    usable &= (new.data > 0) & (old.data > 0)
    old_data = np.where(usable, old.data, np.float32(np.nan))
    change = np.asarray(new.data / old_data - np.float32(1), np.float32)
    return change, np.asarray(np.hypot(sigma / old_data, np.float32(FLAT_FLOOR)), np.float32)


def _relative_change(new: float, old: float, relative: bool) -> float:
    """Return the relative change of the noise; that of a flat is its light's, and says nothing."""
    if relative or not np.isfinite([new, old]).all():
        return 0.0
    return max(new, LEAST_NOISE) / max(old, LEAST_NOISE) - 1.0


def _paraboloid(areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the second-order surface through the areas, those that stand out left aside."""
    rows, columns = areas.shape
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    values = areas.ravel()
    used = np.isfinite(values)
    surface = np.zeros(values.size)
    for _ in range(_ROUNDS):
        if np.count_nonzero(used) < 2 * terms.shape[1]:
            break
        surface = terms @ np.linalg.lstsq(terms[used], values[used], rcond=None)[0]
        residual = values - surface
        spread = 1.4826 * np.nanmedian(np.abs(residual - np.nanmedian(residual)))
        used = np.isfinite(values) & (np.abs(residual) <= _CLIP * max(spread, 1e-12))
    return surface.reshape(rows, columns)


def _defect(residual: NDArray[np.float64], error: float, side: int) -> tuple[float, tuple[int, int]]:
    off = np.where(np.isfinite(residual), residual, 0.0)
    if not off.size:
        return 0.0, (0, 0)
    row, column = np.unravel_index(int(np.argmax(np.abs(off))), off.shape)
    most = float(off[row, column])
    significant = abs(most) > _SIGNIFICANT * (error if np.isfinite(error) else 0.0)
    return most if significant else 0.0, center_of((int(row), int(column)), side)


def _outliers(
    change: NDArray[np.float32], sigma: NDArray[np.float32], smooth: NDArray[np.float64], side: int
) -> float:
    """Return the fraction of pixels that changed, the areas' smooth change apart."""
    rows, columns = smooth.shape[0] * side, smooth.shape[1] * side
    surface = np.repeat(np.repeat(smooth.astype(np.float32), side, axis=0), side, axis=1)
    rest = np.abs(change[:rows, :columns] - surface)
    known = np.isfinite(rest)
    if not known.any():
        return 0.0
    return float(np.count_nonzero(rest[known] > OUTLYING * sigma[:rows, :columns][known]) / known.sum())
