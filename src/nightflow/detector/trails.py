"""Flag the trails of satellites and aircraft.

Squares of 4 x 4 pixels that stand out of the sky around them are joined to groups; round groups, the stars,
are left out. What is left votes for straight lines (the transform of Hough in the form of Duda & Hart 1972,
CACM 15, 11). A line is believed if there is light along it without long gaps, and less beside it; not if it
is the spike or the bleeding of a bright star: the one fades along its length, the other runs along a column.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nightflow.detector.checks import flag_plane, require_unit, set_flag
from nightflow.detector.surroundings import measure_surroundings
from nightflow.detector.trail_kernels import BIN, bin_rows, component_shapes, draw_band, vote
from nightflow.detector.trail_line import Line, Trail, fit_line, verify
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import TrailSettings
from nightflow.parallel import in_bands

__all__ = ["find_trails", "flag_trails"]

_SKY_CELL, _SKY_SAMPLES = 24, 256
"""Squares along one side of a cell of the sky's mesh, and how many of them are looked at."""
_SMALLEST_SIDE = 60
"""Squares. On a smaller frame a trail is no longer than a star's halo."""

_LEAST_EXTENT = 8.0
"""Squares from end to end of a group."""
_LEAST_ELONGATION = 5.0
"""Square of a group's extent over its area: 2.5 for a disc, 4 for two, as its length in widths for a line."""
_MOST_POINTS = 8_000
_ANGLE_STEP, _RHO_STEP = 1.5, 2.0
"""Squares, at the frame's corner and across."""
_TAKEN = 4.0
"""Squares on either side of a line whose light cannot make another one."""
_ATTEMPTS = 4
"""Lines that may fail before the search ends."""

_NO_LIGHT = Flag.BAD | Flag.HOT | Flag.DEAD | Flag.PERSISTENCE
"""A hit stays in: a narrow trail may have been taken for one."""


def flag_trails(frame: Frame, settings: TrailSettings) -> Frame:
    """Flag the pixels of trails.

    Parameters
    ----------
    frame : Frame
        Electrons, trimmed, with its sky still in.
    settings : TrailSettings
        Threshold and shortest length.

    Returns
    -------
    Frame
        Unchanged but for a warning where the chip has a colour filter mosaic. A frame of less than 240 pixels
        is not looked at.

    Raises
    ------
    ValueError
        The frame is not in electrons.
    """
    require_unit(frame, "trails", "electron")
    if frame.header.bayer:
        return frame.after("trails: not done", f"trails: not looked for in the {frame.header.bayer} mosaic")
    if min(frame.data.shape) < BIN * _SMALLEST_SIDE:
        return frame
    flags = flag_plane(frame)
    trails = find_trails(frame.data, flags, settings)
    mask = np.zeros(frame.data.shape, bool)
    for trail in trails:
        draw_band(mask, trail.begin, trail.direction, trail.length, trail.low, trail.high)
    set_flag(flags, mask, Flag.TRAIL)
    return frame.after(f"trails: {', '.join(map(str, trails)) or 'none'}", flags=flags)


def find_trails(data: NDArray[np.float32], flags: NDArray[np.uint16], settings: TrailSettings) -> list[Trail]:
    """Return the trails of a frame, those with the most light along them first."""
    significance = _significance(data, flags)
    x, y = _elongated(significance > settings.threshold)
    least = settings.minimum_length * min(significance.shape)
    found: list[Trail] = []
    failed = 0
    while len(found) < settings.maximum_count and failed < _ATTEMPTS:
        line = _strongest_line(x, y, significance.shape, least)
        if line is None:
            break
        trail = verify(line, significance, data, BIN, threshold=settings.threshold, least=least)
        if trail is None:
            failed += 1
        else:
            found.append(trail)
        beside = np.abs(line.across(x, y)) > _TAKEN
        x, y = x[beside], y[beside]
    return found


def _significance(data: NDArray[np.float32], flags: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return squares of pixels above the sky around, in units of its scatter; NaN without good pixels."""
    shape = (data.shape[0] // BIN, data.shape[1] // BIN)
    binned, usable = np.empty(shape, np.float32), np.empty(shape, bool)

    in_bands(lambda start, stop: bin_rows(data, flags, int(_NO_LIGHT), binned, usable, start, stop), shape[0])
    sky = measure_surroundings(binned, usable, _SKY_CELL, _SKY_SAMPLES)
    known = usable & (sky.scatter > 0)
    significance = np.full(shape, np.nan, np.float32)
    np.divide(binned - sky.level, sky.scatter, out=significance, where=known)
    return significance


def _elongated(bright: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (x, y) of the squares in groups that are long and thin."""
    labels, count = ndimage.label(bright, np.ones((3, 3), bool))
    area, top, bottom, left, right = component_shapes(labels, count).T
    extent = (bottom - top + 1) ** 2 + (right - left + 1) ** 2
    kept = (extent >= _LEAST_EXTENT**2) & (extent >= _LEAST_ELONGATION * area)
    kept[0] = False
    y, x = np.nonzero(kept[labels])
    return x.astype(np.float32), y.astype(np.float32)


def _strongest_line(
    x: NDArray[np.float32], y: NDArray[np.float32], shape: tuple[int, ...], least: float
) -> Line | None:
    """Return the line with the most points; None where no line has half as many as a trail's shortest."""
    step = max(1, len(x) // _MOST_POINTS)
    if len(x) < least / 2:
        return None
    middle = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    reach = float(np.hypot(shape[0], shape[1])) / 2 + 2
    angles = np.arange(0, np.pi, _ANGLE_STEP / reach).astype(np.float32)
    cosines, sines = np.cos(angles), np.sin(angles)
    votes = np.zeros((len(angles), int(2 * reach / _RHO_STEP) + 2), np.int32)
    from_x, from_y = x[::step] - np.float32(middle[0]), y[::step] - np.float32(middle[1])

    in_bands(
        lambda start, stop: vote(from_x, from_y, cosines, sines, reach, _RHO_STEP, votes, start, stop),
        len(angles),
    )
    angle, place = np.unravel_index(np.argmax(votes), votes.shape)
    if votes[angle, place] * step < least / 2:
        return None
    rho = (int(place) + 0.5) * _RHO_STEP - reach
    c, s = float(cosines[angle]), float(sines[angle])
    return fit_line(x, y, Line(middle[0] + rho * c, middle[1] + rho * s, -s, c))
