"""Subtract the dark current, matched in exposure or scaled by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, require_master, require_unit
from nightflow.detector.master_frame import MasterFrame
from nightflow.errors import MissingCalibration
from nightflow.frame import Frame

__all__ = [
    "DarkScaling",
    "dark_counts",
    "dark_line",
    "dark_scale",
    "exposure_scale",
    "same_exposure",
    "subtract_dark",
]

DarkScaling = Literal["exposure_matched", "scaled"]


def subtract_dark(
    frame: Frame,
    master_dark: MasterFrame,
    master_bias: MasterFrame | None = None,
    *,
    scaling: DarkScaling = "exposure_matched",
    exposure_tolerance: float = 0.02,
) -> Frame:
    """Subtract the master dark, add its variance and take over its flags.

    Parameters
    ----------
    frame : Frame
        ADU.
    master_dark : MasterFrame
        Counts at ``header.exptime``; ``header.bias_included`` tells whether the bias is still in.
    master_bias : MasterFrame, optional
        Needed where the dark holds its bias and the frame does not, or where such a dark is scaled.
    scaling : {"exposure_matched", "scaled"}
        Take the dark as it is, or in proportion to the exposures.
    exposure_tolerance : float
        Relative difference of the exposures up to which they count as matched.

    Raises
    ------
    MissingCalibration
        The exposures do not match, or the bias that is in the dark is not at hand.
    ValueError
        Wrong unit, kind or shape.
    """
    require_unit(frame, "dark", "adu")
    require_master(frame, "dark", master_dark)
    scale = dark_scale(frame, master_dark, master_bias, scaling, exposure_tolerance)
    counts = dark_counts(frame, master_dark, master_bias, scale)
    variance = frame.variance
    if variance is not None:
        variance = variance + (scale * master_dark.uncertainty) ** 2
    removes_bias = frame.header.bias_included and master_dark.header.bias_included
    return frame.after(
        dark_line(master_dark, scale) + (", bias with it" if removes_bias else ""),
        data=frame.data - counts,
        variance=variance,
        flags=flag_plane(frame) | master_dark.flags,
        header=replace(frame.header, bias_included=frame.header.bias_included and not removes_bias),
    )


def dark_line(master_dark: MasterFrame, scale: float) -> str:
    """Return the line of history."""
    return f"dark: {master_dark.label} of {master_dark.header.exptime:g} s times {scale:g} subtracted"


def dark_scale(
    frame: Frame,
    master_dark: MasterFrame,
    master_bias: MasterFrame | None,
    scaling: DarkScaling,
    tolerance: float,
) -> float:
    """Return the factor for a master dark; 1 where it is close enough and its bias cannot be told apart.

    Raises
    ------
    MissingCalibration
        As `exposure_scale`.
    """
    exptime, dark_exptime = frame.header.exptime, master_dark.header.exptime
    if (
        master_dark.header.bias_included
        and master_bias is None
        and same_exposure(exptime, dark_exptime, tolerance)
    ):
        return 1.0
    return exposure_scale(exptime, dark_exptime, scaling, tolerance)


def same_exposure(one: float, other: float, tolerance: float) -> bool:
    """Return whether two exposures differ by no more than ``tolerance`` of the longer one."""
    return abs(one - other) <= tolerance * max(one, other)


def exposure_scale(exptime: float, dark_exptime: float, scaling: DarkScaling, tolerance: float) -> float:
    """Return the factor for a dark of ``dark_exptime`` seconds in a frame of ``exptime`` seconds.

    Raises
    ------
    MissingCalibration
        Matched exposures are asked for and these differ, or the dark has no exposure to scale by.
    """
    if exptime == dark_exptime:
        return 1.0
    if scaling == "exposure_matched":
        if same_exposure(exptime, dark_exptime, tolerance):
            return 1.0
        raise MissingCalibration(
            f"dark: a dark of {dark_exptime:g} s does not match an exposure of {exptime:g} s; "
            'take such darks, or set calibration.dark_scaling = "scaled" in the camera profile'
        )
    if dark_exptime <= 0:
        raise MissingCalibration(f"dark: a dark of {dark_exptime:g} s cannot be scaled to {exptime:g} s")
    return exptime / dark_exptime


def dark_counts(
    frame: Frame, master_dark: MasterFrame, master_bias: MasterFrame | None, scale: float
) -> NDArray[np.float32]:
    """Return what has to be subtracted from the frame, ADU: dark current, and the bias if both hold it.

    Raises
    ------
    MissingCalibration
        The dark holds its bias, and it cannot be told apart without a master bias.
    """
    bias_in_dark, bias_in_frame = master_dark.header.bias_included, frame.header.bias_included
    if not bias_in_dark or (bias_in_frame and scale == 1):
        return master_dark.data if scale == 1 else master_dark.data * scale
    if master_bias is None:
        raise MissingCalibration(
            f"dark: {master_dark.label} still holds its bias, and there is no master bias to tell it apart"
        )
    current = (master_dark.data - master_bias.data) * scale
    return current + master_bias.data if bias_in_frame else current
