"""Flag pixels that are bad whatever the sky does: not finite, listed by the user, or shown by the masters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, require_raw_shape, set_flag
from nightflow.detector.master_flags import master_defects
from nightflow.detector.master_frame import MasterSet
from nightflow.errors import ConfigurationError, FrameRejected
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.bad_regions import MEND, BadRegion, parse_bad_region
from nightflow.instruments.profile import BadPixelSettings

__all__ = [
    "flag_master_defects",
    "flag_not_finite",
    "flag_regions",
    "parse_region",
    "region_mask",
    "regions_line",
]


def flag_not_finite(frame: Frame) -> Frame:
    """Flag pixels that are NaN or infinite and fill them with the frame's median.

    Raises
    ------
    FrameRejected
        Not one pixel is finite.
    """
    finite = np.isfinite(frame.data)
    count = finite.size - int(np.count_nonzero(finite))
    if count == 0:
        return frame
    if count == finite.size:
        raise FrameRejected(f"not one of {finite.size} pixels is finite")
    flags = flag_plane(frame)
    set_flag(flags, ~finite, Flag.BAD | Flag.INTERPOLATED)
    data = np.where(finite, frame.data, np.float32(np.median(frame.data[finite])))
    return frame.after(f"bad_pixels: {count} not finite", data=data, flags=flags)


def flag_regions(frame: Frame, regions: Sequence[str]) -> Frame:
    """Flag the profile's bad regions, given in pixels of the raw frame.

    Regions of another detector of the camera are passed over.

    Raises
    ------
    ConfigurationError
        A region is none, or lies outside the frame.
    ValueError
        The frame was trimmed before.
    """
    if not regions:
        return frame
    require_raw_shape(frame, "bad_pixels")
    own, mask = region_mask(tuple(regions), frame.header.detector, frame.header.shape)
    flags = flag_plane(frame)
    set_flag(flags, mask, Flag.BAD)
    return frame.after(regions_line(own), flags=flags)


def regions_line(count: int) -> str:
    """Return the line of history."""
    return f"bad_pixels: {count} regions of the profile"


@lru_cache(maxsize=16)
def region_mask(
    regions: tuple[str, ...], detector: str, shape: tuple[int, int]
) -> tuple[int, NDArray[np.bool_]]:
    """Return how many of the regions are the detector's, and where they are; the same for all its frames."""
    mask = np.zeros(shape, bool)
    own = 0
    for text in regions:
        region = _parsed(text, shape)
        if region.detector in ("", detector):
            mask[_placed(text, region, shape)] = True
            own += 1
    mask.setflags(write=False)  # it is kept and shared
    return own, mask


def parse_region(text: str, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return (rows, columns) of a region such as "[256:256,1:1024]" or "column 256".

    Raises
    ------
    ConfigurationError
        It is no region, or reaches out of a frame of ``shape``.
    """
    return _placed(text, _parsed(text, shape), shape)


def _parsed(text: str, shape: tuple[int, int]) -> BadRegion:
    region = parse_bad_region(text)
    if region is None:
        raise _no_region(text, shape)
    return region


def _placed(text: str, region: BadRegion, shape: tuple[int, int]) -> tuple[slice, slice]:
    place = region.within(shape)
    if place is None:
        raise _no_region(text, shape)
    return place


def _no_region(text: str, shape: tuple[int, int]) -> ConfigurationError:
    return ConfigurationError(
        f"detector.bad_pixel_regions: {text!r} is no part of a frame of {shape[1]}x{shape[0]} pixels; {MEND}"
    )


def flag_master_defects(frame: Frame, masters: MasterSet, settings: BadPixelSettings) -> Frame:
    """Flag what the masters show to be bad in the frame's exposure: `nightflow.detector.master_flags`.

    Raises
    ------
    ValueError
        The masters are not of the frame's shape.
    """
    defects = master_defects(masters, frame.header.exptime, settings)
    if defects.shape != frame.data.shape:
        raise ValueError(f"bad_pixels: masters of {defects.shape}, the frame has {frame.data.shape}")
    flags = flag_plane(frame)
    defects.set_in(flags)
    counts = [f"{defects.count(flag)} {flag.name.lower()}" for flag in _SHOWN if flag.name]
    sources = [master.label for master in (masters.bias, masters.dark, masters.flat) if master is not None]
    return frame.after(f"bad_pixels: {', '.join(counts)} in {', '.join(sources)}", flags=flags)


_SHOWN = (Flag.HOT, Flag.WARM, Flag.DEAD, Flag.BAD)
