"""Subtract the electronic level that the overscan strip shows."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import require_raw_shape, require_unit
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader

__all__ = ["OverscanMode", "level_profile", "line_axis", "overscan_variance", "subtract_overscan"]

OverscanMode = Literal["off", "median", "row_median"]


def subtract_overscan(frame: Frame, mode: OverscanMode) -> Frame:
    """Subtract the overscan level.

    Parameters
    ----------
    frame : Frame
        ADU, untrimmed.
    mode : {"off", "median", "row_median"}
        One level for the whole frame, or one for each line that the strip crosses. Medians, because the
        strip holds cosmic rays and the trail of charge that a bright pixel leaves behind.

    Returns
    -------
    Frame
        With a warning, and unchanged counts, where the strip is not known.

    Raises
    ------
    ValueError
        The frame was trimmed before, or is not in ADU.
    """
    require_unit(frame, "overscan", "adu")
    require_raw_shape(frame, "overscan")
    if mode == "off":
        return frame
    section = frame.header.overscan
    if section is None:
        return frame.after(
            "overscan: not done", "overscan: neither header nor profile names the strip; not subtracted"
        )
    strip = frame.data[section]
    if not np.isfinite(strip).any():
        return frame.after("overscan: not done", f"overscan: no finite pixel in {section}; not subtracted")
    level = np.float32(np.nanmedian(strip))
    lines = level_profile(frame.data, section)
    drift = float(np.nanpercentile(lines, 95) - np.nanpercentile(lines, 5))
    subtracted = level if mode == "median" else _along_frame(lines, line_axis(section))
    return frame.after(
        f"overscan: {mode} {level:.2f} adu subtracted, lines spread over {drift:.2f} adu",
        data=frame.data - subtracted,
    )


def line_axis(section: tuple[slice, slice]) -> int:
    """Return the axis along which the strip runs: 0 for a strip of columns, 1 for a strip of rows."""
    rows, columns = section
    return 0 if rows.stop - rows.start >= columns.stop - columns.start else 1


def level_profile(data: NDArray[np.float32], section: tuple[slice, slice]) -> NDArray[np.float32]:
    """Return the level of each line of the frame, from the medians across the strip.

    Lines that the strip does not reach, or where it holds nothing finite, take the value of the
    nearest ones by linear interpolation.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    section : tuple of slice
        (rows, columns) of the strip.

    Returns
    -------
    ndarray of float32, shape (ny,) or (nx,)
        One level a row for a strip of columns, one a column for a strip of rows.
    """
    axis = line_axis(section)
    strip = data[section]
    usable = np.isfinite(strip).any(axis=1 - axis)
    medians = np.nanmedian(np.compress(usable, strip, axis=axis), axis=1 - axis)
    lines = np.flatnonzero(usable) + section[axis].start
    return np.interp(np.arange(data.shape[axis]), lines, medians).astype(np.float32)


def overscan_variance(header: FrameHeader, mode: OverscanMode) -> float:
    """Return the variance in ADU^2 that the subtracted level itself brings in.

    The median of n Gaussian values has the variance pi / 2n (Kenney & Keeping 1962). One level for the
    whole frame averages thousands of pixels and adds nothing that counts.
    """
    if mode != "row_median" or header.overscan is None:
        return 0.0
    across = header.overscan[1 - line_axis(header.overscan)]
    return float(np.pi / 2 * (header.read_noise / header.gain) ** 2 / (across.stop - across.start))


def _along_frame(lines: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    return lines[:, np.newaxis] if axis == 0 else lines[np.newaxis, :]
