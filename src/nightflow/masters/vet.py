"""Tell the inputs of a master that do not belong: light leaks, mislabelled frames, bad exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.robust import MAD_TO_SIGMA

__all__ = ["InputMeasures", "VetLimits", "measure_input", "unusable", "vet"]


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
    """

    level: float
    noise: float
    raw_level: float
    saturated: float


@dataclass(frozen=True, kw_only=True)
class VetLimits:
    """Where an input is dropped.

    Attributes
    ----------
    outlier : float
        Bias, dark: level off the median of all inputs by so many robust standard deviations of the
        levels (and by as much as one pixel's noise, below which it does no harm).
    noise_ratio : float
        Bias, dark: noise above so many times the median of all inputs.
    flat_low, flat_high : float
        Flat: median level in units of the saturation level.
    flat_saturated : float
        Flat: fraction of saturated pixels beyond that of the least saturated input.
    """

    outlier: float = 5.0
    noise_ratio: float = 2.0
    flat_low: float = 0.02
    flat_high: float = 0.9
    flat_saturated: float = 0.02


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
    return InputMeasures(
        level=level,
        noise=noise,
        raw_level=float(np.nanmedian(raw.data)) / raw.header.saturation,
        saturated=float(np.mean(saturated)),
    )


def vet(kind: FrameKind, measures: Sequence[InputMeasures], limits: VetLimits | None = None) -> list[str]:
    """Judge the inputs of one master.

    Returns
    -------
    list of str
        For each input why it is dropped; "" where it is kept.
    """
    limits = limits or VetLimits()
    if not measures:
        return []
    if kind == FrameKind.FLAT:
        least = min(measure.saturated for measure in measures)
        return [_fault_of_flat(measure, least, limits) for measure in measures]
    return _outliers(measures, limits)


def _fault_of_flat(measure: InputMeasures, least_saturated: float, limits: VetLimits) -> str:
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


def _outliers(measures: Sequence[InputMeasures], limits: VetLimits) -> list[str]:
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
