"""The sections of a camera profile that say how masters are made, chosen and vetted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nightflow.instruments.settings_model import SettingsModel

__all__ = ["InputLimits", "MasterSettings", "VettingSettings"]


MatchKey = Literal[
    "instrument",
    "detector",
    "filter",
    "gain_setting",
    "readout_mode",
    "shape",
    "binning",
    "exptime",
    "ccd_temp",
    "rotator",
]
"""What frames and masters may be compared by; see `nightflow.masters.keys.MasterKey`."""


class InputLimits(SettingsModel):
    """Where an input of a master is dropped."""

    outlier: float = Field(5.0, gt=0)
    """Bias, dark: level off the median of all inputs by so many robust standard deviations of the levels (and
    by as much as one pixel's noise, below which it does no harm)."""
    noise_ratio: float = Field(2.0, gt=1)
    """Bias, dark: noise above so many times the median of all inputs."""
    structure: float = Field(1.0, gt=0)
    """Bias, dark: areas that differ from the median of all inputs by so many times one pixel's noise, but by
    2 ADU at least."""
    flat_structure: float = Field(0.03, gt=0)
    """Flat: the same, relative to its level."""
    flat_low: float = Field(0.02, ge=0)
    """Flat: median level in units of the saturation level."""
    flat_high: float = Field(0.9, gt=0)
    flat_saturated: float = Field(0.02, ge=0)
    """Flat: fraction of saturated pixels beyond that of the least saturated input."""


class MasterSettings(SettingsModel):
    """How masters are grouped, combined and chosen."""

    minimum_inputs: int = Field(3, ge=1)
    """A set of exactly so many makes a provisional master."""
    temperature_tolerance: float = Field(1.0, ge=0)
    exposure_tolerance: float = Field(0.02, ge=0, lt=1)
    """Relative; 0.02 means 2 %."""
    rotator_tolerance: float | None = Field(None, ge=0)
    """Degrees by which a flat's rotator may differ from the frame's; None: the rotator does not matter."""
    validity_days: float = Field(30.0, gt=0)
    clip_sigma: float = Field(4.0, gt=0)
    illumination_scale: int = Field(51, ge=3)
    """Pixels; a dark-sky flat is smoothed over squares of this side: only the large scale is kept."""
    fringe_background: int = Field(256, ge=32)
    """Pixels; the sky is taken off on a mesh of this size, which must be wider than a fringe."""
    match: list[MatchKey] = ["instrument", "detector", "binning", "gain_setting", "readout_mode", "shape"]
    set_count: int | None = Field(None, ge=1)
    """A set of calibration frames is complete when it has so many; None: after a gap in time alone."""
    set_gap_minutes: float = Field(15.0, gt=0)
    """A set is complete when none was added for so long, or for twice the exposure if that is longer."""
    block_gap_minutes: float = Field(60.0, gt=0)
    """A night's lights are over when none has come for so long: then better masters replace those in use."""
    minimum_sky_inputs: int = Field(5, ge=1)
    """Lights of one night, filter and chip that an illumination or fringe master needs."""
    sky_offset: float = Field(20.0, ge=0)
    """Arcsec by which their pointings must differ, so that no star stays on its pixel."""
    inputs: InputLimits = InputLimits()


class VettingSettings(SettingsModel):
    """What a new master may differ by from the last approved one of its kind.

    Beyond a limit it is provisional, beyond ``rejected_at`` times the limit it is rejected.
    """

    outliers: float = Field(0.02, gt=0)
    """Fraction of pixels off by more than 6 standard deviations."""
    level: float = Field(10.0, gt=0)
    """Bias: change of the level in units of one pixel's noise."""
    dark_level: float = Field(0.5, gt=0)
    """Dark: change of the level relative to it, or to one pixel's noise where that is more."""
    noise: float = Field(0.5, gt=0)
    """Bias, dark: relative change of one pixel's noise."""
    structure: float = Field(1.5, gt=0)
    """Bias, dark: change of an area or across the chip in units of one pixel's noise."""
    flat_gradient: float = Field(0.03, gt=0)
    """Flat: smooth change across the chip, relative."""
    flat_defect: float = Field(0.01, gt=0)
    """Flat: change of an area against its surroundings, relative: dust, a thumbprint."""
    unusable: float = Field(0.1, gt=0)
    """Fraction of pixels without a usable value, of flats also those outside ``calibration.flat_low`` and
    ``flat_high``."""
    bias_structure: float = Field(40.0, gt=0)
    """First bias of its kind: range of its large-scale structure in units of one pixel's noise."""
    rejected_at: float = Field(3.0, ge=1)
