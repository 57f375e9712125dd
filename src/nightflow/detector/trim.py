"""Cut the frame down to the pixels that see light; put those of several amplifiers together."""

from __future__ import annotations

from nightflow.detector.amplifiers import assemble
from nightflow.detector.checks import require_raw_shape
from nightflow.frame import Frame
from nightflow.instruments.amplifiers import Region

__all__ = ["trim", "trim_line"]


def trim(frame: Frame) -> Frame:
    """Return the header's trim section of the frame; the frame itself where there is none.

    The parts of several amplifiers are put together to one chip in its own orientation.

    ``header.shape`` stays that of the raw frame, by which masters are matched.

    Raises
    ------
    ValueError
        The frame was trimmed before, or the section lies outside it.
    """
    require_raw_shape(frame, "trim")
    if frame.header.amplifiers:
        return assemble(frame)
    section = frame.header.trim
    if section is None:
        return frame
    data = frame.data[section]
    if data.size == 0:
        raise ValueError(f"trim: section {section} holds no pixel of a frame of {frame.header.shape}")
    return frame.after(
        trim_line(section),
        data=data.copy(),
        variance=None if frame.variance is None else frame.variance[section].copy(),
        flags=None if frame.flags is None else frame.flags[section].copy(),
    )


def trim_line(section: Region) -> str:
    """Return the line of history."""
    rows, columns = section
    return f"trim: rows {rows.start}:{rows.stop}, columns {columns.start}:{columns.stop} kept (0-based)"
