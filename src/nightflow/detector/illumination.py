"""Divide by the illumination: what the flat says wrongly on a large scale, told by the dark sky."""

from __future__ import annotations

import numpy as np

from nightflow.detector.checks import flag_plane, require_master, require_unit, set_flag
from nightflow.detector.master_frame import MasterFrame
from nightflow.flags import Flag
from nightflow.frame import Frame

__all__ = ["divide_illumination"]


def divide_illumination(frame: Frame, master: MasterFrame) -> Frame:
    """Divide by the illumination and propagate the variance.

    Parameters
    ----------
    frame : Frame
        ADU, divided by the flat.
    master : MasterFrame
        Sky of a flat-divided frame relative to its level; see `nightflow.masters.sky_flat`. Pixels where it
        is not above zero are left as they are and flagged BAD.

    Raises
    ------
    ValueError
        Wrong unit, kind or shape.
    """
    require_unit(frame, "illumination", "adu")
    require_master(frame, "illumination", master)
    flags = flag_plane(frame) | master.flags
    dark = master.data <= 0
    set_flag(flags, dark, Flag.BAD)
    response = np.where(dark, np.float32(1), master.data)
    data = frame.data / response
    variance = frame.variance
    if variance is not None:
        variance = (variance + (data * master.uncertainty) ** 2) / (response * response)
    return frame.after(f"illumination: {master.label} divided", data=data, variance=variance, flags=flags)
