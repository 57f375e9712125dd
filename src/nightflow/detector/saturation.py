"""Flag saturated pixels on the raw counts, before anything shifts or scales them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, require_raw_shape, require_unit, set_flag
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.amplifiers import Amplifier
from nightflow.instruments.header import FrameHeader

__all__ = ["BLEED", "MINIMUM_RUN", "flag_saturation", "grow_bleed", "saturation_line"]

MINIMUM_RUN = 3
"""Saturated pixels in a row along a column that count as a bleed."""

BLEED = 2
"""Pixels by which such a run is grown at both ends."""


def flag_saturation(frame: Frame, bleed: int = BLEED) -> Frame:
    """Flag the pixels at or above the saturation level of their amplifier, and what they bled into.

    Parameters
    ----------
    frame : Frame
        Raw counts, ADU, untrimmed.
    bleed : int
        Pixels by which a run of saturated pixels is grown at both ends along its column. Isolated
        saturated pixels (hot ones, cosmic rays) do not grow.

    Raises
    ------
    ValueError
        The counts are not raw any more.
    """
    require_unit(frame, "saturation", "adu")
    require_raw_shape(frame, "saturation")
    if frame.header.amplifiers:
        return _of_amplifiers(frame, frame.header.amplifiers, bleed)
    saturated = frame.data >= frame.header.saturation
    count = int(np.count_nonzero(saturated))
    flags = flag_plane(frame)
    if count:
        set_flag(flags, grow_bleed(saturated, bleed), Flag.SATURATED)
    return frame.after(saturation_line(count, frame.header), flags=flags)


def saturation_line(count: int, header: FrameHeader) -> str:
    """Return the line of history."""
    return f"saturation: {count} pixels at or above {header.saturation:g} adu"


def _of_amplifiers(frame: Frame, amplifiers: Sequence[Amplifier], bleed: int) -> Frame:
    """Judge each amplifier's pixels by its own level; a bleed does not cross into the next one's."""
    flags = flag_plane(frame)
    found = []
    for amplifier in amplifiers:
        saturated = frame.data[amplifier.data] >= amplifier.saturation
        set_flag(flags[amplifier.data], grow_bleed(saturated, bleed), Flag.SATURATED)
        found.append(
            f"{amplifier.name}: {np.count_nonzero(saturated)} pixels at or above {amplifier.saturation:g} adu"
        )
    return frame.after(f"saturation: {'; '.join(found)}", flags=flags)


def grow_bleed(saturated: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Return ``saturated`` with the ends of its runs along columns grown by ``length`` pixels.

    Charge spills along the columns of a CCD, and the pixel next to a full one holds part of the
    spill without reaching the level itself.
    """
    rows = saturated.shape[0]
    if length <= 0 or rows < MINIMUM_RUN:
        return saturated.copy()
    middle = np.zeros_like(saturated)
    middle[1:-1] = saturated[:-2] & saturated[1:-1] & saturated[2:]
    grown = saturated.copy()
    for shift in range(1, min(length + 1, rows - 1) + 1):
        grown[shift:] |= middle[:-shift]
        grown[:-shift] |= middle[shift:]
    return grown
