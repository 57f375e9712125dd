"""What every step asks of its input before it touches a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.master_frame import MasterFrame
from nightflow.flags import FLAG_DTYPE, Flag, new_plane
from nightflow.frame import Frame

__all__ = ["flag_plane", "require_master", "require_raw_shape", "require_unit", "set_flag"]


def require_unit(frame: Frame, step: str, unit: str) -> None:
    """Check that the counts are in ``unit``.

    Raises
    ------
    ValueError
        They are not: the steps were called in the wrong order.
    """
    if frame.unit != unit:
        raise ValueError(f"{step}: needs counts in {unit}, got {frame.unit}")


def require_raw_shape(frame: Frame, step: str) -> None:
    """Check that the frame is as it was read out, so that raw coordinates still apply.

    Raises
    ------
    ValueError
        It was trimmed before, or its header belongs to another frame.
    """
    if frame.data.shape != frame.header.shape:
        raise ValueError(
            f"{step}: needs the untrimmed frame of {frame.header.shape}, got pixels of {frame.data.shape}"
        )


def require_master(frame: Frame, step: str, master: MasterFrame) -> None:
    """Check that a master is of the step's kind and covers the frame's pixels.

    Raises
    ------
    ValueError
        It is of another kind or shape: whoever chose it did not compare the keys.
    """
    if master.kind != step:
        raise ValueError(f"{step}: needs a master {step}, got a master {master.kind}")
    if master.data.shape != frame.data.shape:
        raise ValueError(
            f"{step}: {master.label} has pixels of {master.data.shape}, the frame of {frame.data.shape}"
        )


def flag_plane(frame: Frame) -> NDArray[np.uint16]:
    """Return a copy of the frame's flags that a step may change; empty where there are none yet."""
    if frame.flags is None:
        return new_plane((frame.data.shape[0], frame.data.shape[1]))
    return frame.flags.copy()


def set_flag(flags: NDArray[np.uint16], where: Any, flag: Flag) -> None:
    """Set ``flag`` in the plane at the pixels ``where`` (mask or index); its other bits stay."""
    flags[where] |= FLAG_DTYPE(flag)
