"""Subtract the electronic level that the overscan strip shows, of each amplifier its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import require_raw_shape, require_unit
from nightflow.detector.overscan_levels import (
    DEFAULT_CURVE,
    LevelCurve,
    level_profile,
    line_axis,
    line_levels,
    strip_variance,
)
from nightflow.frame import Frame
from nightflow.instruments.amplifiers import Amplifier, Region
from nightflow.instruments.header import FrameHeader
from nightflow.instruments.profile import OverscanMode

__all__ = [
    "OVERSCAN_NOT_DONE",
    "LevelCurve",
    "OverscanMode",
    "level_profile",
    "line_axis",
    "line_levels",
    "overscan_line",
    "overscan_variance",
    "subtract_overscan",
]


OVERSCAN_NOT_DONE = "overscan: not done"
"""Line of history where no strip told a level."""


def subtract_overscan(frame: Frame, mode: OverscanMode, curve: LevelCurve = DEFAULT_CURVE) -> Frame:
    """Subtract the overscan level.

    Parameters
    ----------
    frame : Frame
        ADU, untrimmed.
    mode : {"off", "median", "row_median", "polynomial", "spline"}
        One level for the whole frame, one for each line that the strip crosses, or a curve through those.
        Medians, because the strip holds cosmic rays and the trail of charge that a bright pixel leaves
        behind. See `nightflow.detector.overscan_levels.line_levels`.
    curve : LevelCurve
        Of the last two modes.

    Returns
    -------
    Frame
        With a warning, and unchanged counts, where the strip is not known. Amplifiers have their own
        strips, and the level of each is subtracted from its own pixels.

    Raises
    ------
    ValueError
        The frame was trimmed before, or is not in ADU.
    """
    require_unit(frame, "overscan", "adu")
    require_raw_shape(frame, "overscan")
    if mode == "off":
        return frame
    if frame.header.amplifiers:
        return _of_amplifiers(frame, frame.header.amplifiers, mode, curve)
    section = frame.header.overscan
    fault = _fault(frame.data, section)
    if section is None or fault:
        return frame.after(OVERSCAN_NOT_DONE, f"overscan: {fault}; not subtracted")
    levels = line_levels(frame.data, section, mode, curve)
    return frame.after(
        overscan_line(frame.data, section, mode, levels),
        data=frame.data - _along_frame(levels, line_axis(section)),
    )


def overscan_line(
    data: NDArray[np.float32], section: Region, mode: OverscanMode, levels: NDArray[np.float32]
) -> str:
    """Return the line of history of a chip with one amplifier."""
    return f"overscan: {mode} {_described(data, section, mode, levels)}"


def overscan_variance(header: FrameHeader, mode: OverscanMode, curve: LevelCurve = DEFAULT_CURVE) -> float:
    """Return the variance in ADU^2 that the subtracted level itself brings in.

    Of a chip with one amplifier; see `nightflow.detector.overscan_levels.strip_variance`.
    """
    if header.overscan is None:
        return 0.0
    return strip_variance(header.overscan, header.read_noise / header.gain, mode, curve)


def _of_amplifiers(
    frame: Frame, amplifiers: Sequence[Amplifier], mode: OverscanMode, curve: LevelCurve
) -> Frame:
    data = frame.data.copy()
    done, warnings = [], []
    for amplifier in amplifiers:
        section = amplifier.overscan
        fault = _fault(frame.data, section)
        if section is None or fault:
            warnings.append(f"overscan: amplifier {amplifier.name}: {fault}; not subtracted")
            continue
        levels = line_levels(frame.data, section, mode, curve)
        for region in (amplifier.data, section):
            axis = line_axis(section)
            data[region] -= _along_frame(levels[region[axis]], axis)
        done.append(f"{amplifier.name}: {_described(frame.data, section, mode, levels)}")
    history = f"overscan: {mode}; {'; '.join(done)}" if done else OVERSCAN_NOT_DONE
    return frame.after(history, *warnings, data=data)


def _fault(data: NDArray[np.float32], section: Region | None) -> str:
    """Return why a strip tells nothing; "" where it does."""
    if section is None:
        return "neither header nor profile names the strip"
    return "" if np.isfinite(data[section]).any() else f"no finite pixel in {section}"


def _described(
    data: NDArray[np.float32], section: Region, mode: OverscanMode, levels: NDArray[np.float32]
) -> str:
    along = section[line_axis(section)]
    lines = levels if mode == "row_median" else level_profile(data, section)
    low, high = np.percentile(lines[along], [5, 95])
    return f"{np.median(levels[along]):.2f} adu subtracted, lines spread over {high - low:.2f} adu"


def _along_frame(lines: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    return lines[:, np.newaxis] if axis == 0 else lines[np.newaxis, :]
