"""Subtract the constant that the camera's software added to keep counts positive."""

from __future__ import annotations

from nightflow.detector.checks import require_unit
from nightflow.frame import Frame

__all__ = ["subtract_pedestal"]


def subtract_pedestal(frame: Frame) -> Frame:
    """Subtract ``header.pedestal`` ADU, which may differ from frame to frame.

    Raises
    ------
    ValueError
        The counts are not in ADU.
    """
    require_unit(frame, "pedestal", "adu")
    if frame.header.pedestal == 0:
        return frame
    return frame.after(
        f"pedestal: {frame.header.pedestal:g} adu subtracted", data=frame.data - frame.header.pedestal
    )
