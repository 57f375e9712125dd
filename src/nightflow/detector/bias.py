"""Subtract the master bias."""

from __future__ import annotations

from dataclasses import replace

from nightflow.detector.checks import flag_plane, require_master, require_unit
from nightflow.detector.master_frame import MasterFrame
from nightflow.frame import Frame

__all__ = ["bias_line", "subtract_bias"]


def subtract_bias(frame: Frame, master_bias: MasterFrame) -> Frame:
    """Subtract the master bias and take over its flags.

    Parameters
    ----------
    frame : Frame
        ADU. Where ``header.bias_included`` is False the bias is gone already and stays so.
    master_bias : MasterFrame
        Made by the same overscan settings as the frame.

    Returns
    -------
    Frame
        With ``header.bias_included`` False.

    Raises
    ------
    ValueError
        Wrong unit, kind or shape.
    """
    require_unit(frame, "bias", "adu")
    require_master(frame, "bias", master_bias)
    if not frame.header.bias_included:
        return frame.after("bias: already subtracted, says the header")
    return frame.after(
        bias_line(master_bias),
        data=frame.data - master_bias.data,
        flags=flag_plane(frame) | master_bias.flags,
        header=replace(frame.header, bias_included=False),
    )


def bias_line(master_bias: MasterFrame) -> str:
    """Return the line of history."""
    return f"bias: {master_bias.label} subtracted"
