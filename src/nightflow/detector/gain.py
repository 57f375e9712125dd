"""From ADU to electrons."""

from __future__ import annotations

from nightflow.detector.checks import require_unit
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader

__all__ = ["apply_gain", "gain_line"]


def apply_gain(frame: Frame) -> Frame:
    """Multiply counts by the header's gain and the variance by its square.

    Raises
    ------
    ValueError
        The counts are not in ADU, or the gain is not positive.
    """
    require_unit(frame, "gain", "adu")
    gain = frame.header.gain
    if not gain > 0:
        raise ValueError(f"gain: must be positive, got {gain}")
    return frame.after(
        gain_line(frame.header),
        data=frame.data * gain,
        variance=None if frame.variance is None else frame.variance * gain**2,
        unit="electron",
    )


def gain_line(header: FrameHeader) -> str:
    """Return the line of history."""
    return f"gain: times {header.gain:g} electron/adu"
