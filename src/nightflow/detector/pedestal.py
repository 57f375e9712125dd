"""Subtract the constant that the camera's software added to keep counts positive."""

from __future__ import annotations

from nightflow.detector.amplifiers import amplifier_plane
from nightflow.detector.checks import require_unit
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader

__all__ = ["pedestal_line", "subtract_pedestal"]


def subtract_pedestal(frame: Frame) -> Frame:
    """Subtract ``header.pedestal`` ADU, or what each amplifier has; it may differ from frame to frame.

    To be called when the amplifiers' pixels are one chip.

    Raises
    ------
    ValueError
        The counts are not in ADU.
    """
    require_unit(frame, "pedestal", "adu")
    pedestals = {amplifier.name: amplifier.pedestal for amplifier in frame.header.amplifiers}
    if any(pedestals.values()):
        words = ", ".join(f"{name} {pedestal:g}" for name, pedestal in pedestals.items())
        plane = amplifier_plane(frame, lambda amplifier: amplifier.pedestal)
        return frame.after(f"pedestal: {words} adu subtracted", data=frame.data - plane)
    if frame.header.pedestal == 0:
        return frame
    return frame.after(pedestal_line(frame.header), data=frame.data - frame.header.pedestal)


def pedestal_line(header: FrameHeader) -> str:
    """Return the line of history."""
    return f"pedestal: {header.pedestal:g} adu subtracted"
