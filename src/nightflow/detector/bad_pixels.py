"""Flag pixels that are bad whatever the sky does: not finite, listed by the user, hot or warm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, require_raw_shape, set_flag
from nightflow.detector.master_frame import MasterFrame
from nightflow.errors import ConfigurationError, FrameRejected
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.values import parse_section
from nightflow.robust import robust_sigma

__all__ = [
    "HotPixelLimits",
    "flag_hot_pixels",
    "flag_not_finite",
    "flag_regions",
    "hot_pixel_limits",
    "parse_region",
]

SAMPLED_PIXELS = 200_000
"""Enough for the median and spread of a master to 0.5 % of its spread."""

SPREAD_FACTOR = 5.0
"""A warm pixel also stands out by this many standard deviations of the master dark's own spread."""


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
    """Flag the profile's bad regions, given as FITS sections of the raw frame.

    Raises
    ------
    ConfigurationError
        A region is no FITS section, or lies outside the frame.
    ValueError
        The frame was trimmed before.
    """
    if not regions:
        return frame
    require_raw_shape(frame, "bad_pixels")
    flags = flag_plane(frame)
    for region in regions:
        set_flag(flags, parse_region(region, frame.header.shape), Flag.BAD)
    return frame.after(f"bad_pixels: {len(regions)} regions of the profile", flags=flags)


def parse_region(region: str, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return (rows, columns) of a FITS section such as "[256:256,1:1024]".

    Raises
    ------
    ConfigurationError
        It is no FITS section, or reaches out of a frame of ``shape``.
    """
    section = parse_section(region)
    if section is None or any(part.stop > length for part, length in zip(section, shape, strict=True)):
        raise ConfigurationError(
            f"detector.bad_pixel_regions: {region!r} is no part of a frame of {shape[1]}x{shape[0]} pixels; "
            "write [x1:x2,y1:y2], 1-based, both ends included"
        )
    return section


@dataclass(frozen=True, kw_only=True)
class HotPixelLimits:
    """Dark counts in ADU, at the master's own exposure, from which a pixel is warm or hot."""

    warm: float
    hot: float


def hot_pixel_limits(master_dark: MasterFrame, exptime: float) -> HotPixelLimits:
    """Return from which dark counts a pixel is warm or hot in an exposure of ``exptime`` seconds.

    In electrons, a pixel is hot where the dark current that it has beyond the typical one adds as much
    variance as a typical pixel has in the dark (read noise squared plus typical dark current), warm
    from half of that on. Where the typical dark current is negligible this is the usual
    ``dark * t >= read_noise**2``; where it is not, a warm chip is not flagged as a whole. Read-out
    noise left in the master, or an unknown read noise, must not make pixels warm: they also
    stand out of the master's own spread.
    """
    header = master_dark.header
    step = max(1, master_dark.data.size // SAMPLED_PIXELS)
    good = master_dark.data.ravel()[::step][master_dark.flags.ravel()[::step] == 0]
    typical = float(np.median(good))
    spread = robust_sigma(good)
    scale = exptime / header.exptime if header.exptime > 0 else 1.0
    current = 0.0 if header.bias_included else max(typical, 0.0) * scale * header.gain
    excess = (header.read_noise**2 + current) / (header.gain * scale) if scale > 0 else np.inf
    floor = SPREAD_FACTOR * spread
    return HotPixelLimits(warm=typical + max(excess / 2, floor), hot=typical + max(excess, 2 * floor))


def flag_hot_pixels(frame: Frame, master_dark: MasterFrame) -> Frame:
    """Flag hot and warm pixels of the master dark for the frame's exposure; see `hot_pixel_limits`."""
    limits = hot_pixel_limits(master_dark, frame.header.exptime)
    hot = master_dark.data >= limits.hot
    warm: NDArray[np.bool_] = (master_dark.data >= limits.warm) & ~hot
    flags = flag_plane(frame)
    set_flag(flags, hot, Flag.HOT)
    set_flag(flags, warm, Flag.WARM)
    return frame.after(
        f"bad_pixels: {np.count_nonzero(hot)} hot, {np.count_nonzero(warm)} warm in {master_dark.label}",
        flags=flags,
    )
