"""Tell the inputs of a master that do not belong: light leaks, mislabelled frames, bad exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import InputLimits
from nightflow.masters.areas import area_map, area_side, center_of
from nightflow.robust import MAD_TO_SIGMA

__all__ = ["InputMeasures", "measure_input", "unusable", "vet"]

AREAS, LARGEST_AREA = 32, 32
"""Areas along the shorter axis of a chip, and their greatest side: a trail must fill part of one."""

SHARE = 0.005
"""Of the areas, that must be off before an input is dropped: a bright star is clipped with the pixels."""

LEAST_STRUCTURE = 2.0
"""ADU; what whole counts alone may do to an area's level."""

_VOTERS = 3
"""Inputs from which on a median tells which of them is off."""


@dataclass(frozen=True, kw_only=True)
class InputMeasures:
    """What an input is judged by.

    Attributes
    ----------
    level : float
        Median of the usable pixels after preparation, ADU.
    noise : float
        1.4826 MAD of the same pixels, ADU.
    raw_level : float
        Median of the raw counts in units of the saturation level.
    saturated : float
        Fraction of the pixels that are saturated.
    areas : ndarray of float64, shape (rows, columns), optional
        Median of each area, ADU.
    side : int
        Of an area, pixels.
    """

    level: float
    noise: float
    raw_level: float
    saturated: float
    areas: NDArray[np.float64] | None = field(default=None, repr=False)
    side: int = 1


def unusable(frame: Frame) -> NDArray[np.bool_]:
    """Return where a prepared frame has no value to contribute."""
    if frame.flags is None:
        return np.zeros(frame.data.shape, bool)
    return (frame.flags & int(Flag.SATURATED | Flag.BAD)) != 0


def measure_input(raw: Frame, prepared: Frame) -> InputMeasures:
    """Measure one input before and after its preparation; NaN where it has no usable pixel."""
    bad = unusable(prepared)
    good = prepared.data[~bad]
    level = float(np.median(good)) if good.size else np.nan
    noise = MAD_TO_SIGMA * float(np.median(np.abs(good - level))) if good.size else np.nan
    saturated = raw.data >= raw.header.saturation
    side = area_side((bad.shape[0], bad.shape[1]), AREAS, LARGEST_AREA)
    return InputMeasures(
        level=level,
        noise=noise,
        raw_level=float(np.nanmedian(raw.data)) / raw.header.saturation,
        saturated=float(np.mean(saturated)),
        areas=area_map(np.where(bad, np.float32(np.nan), prepared.data), side),
        side=side,
    )


def vet(kind: FrameKind, measures: Sequence[InputMeasures], limits: InputLimits | None = None) -> list[str]:
    """Judge the inputs of one master.

    Returns
    -------
    list of str
        For each input why it is dropped; "" where it is kept.
    """
    limits = limits or InputLimits()
    if not measures:
        return []
    if kind == FrameKind.FLAT:
        least = min(measure.saturated for measure in measures)
        faults = [_fault_of_flat(measure, least, limits) for measure in measures]
    else:
        faults = _outliers(measures, limits)
    kept = [number for number, fault in enumerate(faults) if not fault]
    for number, fault in zip(kept, _structures(kind, [measures[n] for n in kept], limits), strict=True):
        faults[number] = fault
    return faults


def _fault_of_flat(measure: InputMeasures, least_saturated: float, limits: InputLimits) -> str:
    if not np.isfinite(measure.level):
        return "no usable pixel"
    if measure.level <= 0:
        return f"no light: level {measure.level:.0f} adu"
    if measure.raw_level < limits.flat_low:
        return f"too faint: level {measure.raw_level:.1%} of saturation, below {limits.flat_low:.0%}"
    if measure.raw_level > limits.flat_high:
        return f"too bright: level {measure.raw_level:.1%} of saturation, above {limits.flat_high:.0%}"
    if measure.saturated > least_saturated + limits.flat_saturated:
        return f"saturated: {measure.saturated:.1%} of the pixels"
    return ""


def _outliers(measures: Sequence[InputMeasures], limits: InputLimits) -> list[str]:
    levels = np.array([measure.level for measure in measures])
    noises = np.array([measure.noise for measure in measures])
    center, noise = np.nanmedian(levels), np.nanmedian(noises)
    spread = MAD_TO_SIGMA * np.nanmedian(np.abs(levels - center))
    allowed = max(limits.outlier * spread, noise)
    return [_fault(measure, center, allowed, limits.noise_ratio * noise) for measure in measures]


def _fault(measure: InputMeasures, center: float, allowed: float, most_noise: float) -> str:
    if not np.isfinite(measure.level):
        return "no usable pixel"
    if abs(measure.level - center) > allowed:
        return f"level {measure.level:.1f} adu, the others {center:.1f} within {allowed:.1f}"
    if measure.noise > most_noise:
        return f"noise {measure.noise:.1f} adu, more than {most_noise:.1f}"
    return ""


def _structures(kind: FrameKind, measures: Sequence[InputMeasures], limits: InputLimits) -> list[str]:
    """Return for each input where areas of it differ from the median of all, "" where they do not."""
    maps = [_relative(kind, measure) for measure in measures]
    known = [one for one in maps if one is not None]
    if len(known) < max(_VOTERS, len(maps)) or len({one.shape for one in known}) > 1:
        return [""] * len(measures)
    common = np.median(known, axis=0)
    if kind == FrameKind.FLAT:
        return [
            _structure(one - common, measure.side, limits.flat_structure, "{:.1%}")
            for one, measure in zip(known, measures, strict=True)
        ]
    noise = float(np.median([measure.noise for measure in measures]))
    allowed = max(limits.structure * noise, LEAST_STRUCTURE)
    return [
        _structure(one - common, measure.side, allowed, "{:.1f} adu")
        for one, measure in zip(known, measures, strict=True)
    ]


def _relative(kind: FrameKind, measure: InputMeasures) -> NDArray[np.float64] | None:
    """Return the areas about the frame's own level, of a flat in units of it."""
    if measure.areas is None:
        return None
    return measure.areas / measure.level if kind == FrameKind.FLAT else measure.areas - measure.level


def _structure(difference: NDArray[np.float64], side: int, allowed: float, unit: str) -> str:
    off = np.abs(np.where(np.isfinite(difference), difference, 0.0))
    if np.mean(off > allowed) <= SHARE:
        return ""
    row, column = np.unravel_index(int(np.argmax(off)), off.shape)
    x, y = center_of((int(row), int(column)), side)
    amount = unit.format(float(difference[row, column]))
    return (
        f"{np.mean(off > allowed):.1%} of its areas differ from the other inputs by more than "
        f"{unit.format(allowed)}, most by {amount} at ({x}, {y}): a light leak, a shadow or a trail"
    )
