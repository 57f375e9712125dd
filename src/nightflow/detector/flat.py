"""Divide by the master flat."""

from __future__ import annotations

import numpy as np

from nightflow.detector.checks import flag_plane, require_master, require_unit, set_flag
from nightflow.detector.master_frame import MasterFrame
from nightflow.flags import Flag
from nightflow.frame import Frame

__all__ = ["divide_flat", "flat_line"]


def divide_flat(frame: Frame, master_flat: MasterFrame, *, low: float = 0.2, high: float = 5.0) -> Frame:
    """Divide by the response, propagate the variance and flag what cannot be corrected.

    Parameters
    ----------
    frame : Frame
        ADU, bias and dark subtracted.
    master_flat : MasterFrame
        Response relative to a median of 1.
    low, high : float
        A response below ``low`` is flagged DEAD, one above ``high`` BAD. Where the response is not above
        zero nothing is divided, so that no infinity comes up.

    Raises
    ------
    ValueError
        Wrong unit, kind or shape.
    """
    require_unit(frame, "flat", "adu")
    require_master(frame, "flat", master_flat)
    response = master_flat.data
    dead = response < low
    bad = response > high
    flags = flag_plane(frame) | master_flat.flags
    if dead.any():
        set_flag(flags, dead, Flag.DEAD)
        response = np.where(response > 0, response, np.float32(1))
    if bad.any():
        set_flag(flags, bad, Flag.BAD)
    data = frame.data / response
    variance = frame.variance
    if variance is not None:
        variance = (variance + (data * master_flat.uncertainty) ** 2) / (response * response)
    return frame.after(
        flat_line(master_flat, int(np.count_nonzero(dead)), int(np.count_nonzero(bad))),
        data=data,
        variance=variance,
        flags=flags,
    )


def flat_line(master_flat: MasterFrame, dead: int, bad: int) -> str:
    """Return the line of history."""
    return f"flat: {master_flat.label} divided, {dead} dead, {bad} bad"
