"""Saturation to gain in one pass over the pixels, for a chip with one amplifier: the fast engine.

The steps' own files say what is done; this does the same to all of them at once, with the same lines of
history. What it does not do goes step by step: see `can_be_fused`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.bad_pixels import region_mask, regions_line
from nightflow.detector.bias import bias_line
from nightflow.detector.checks import require_master, require_raw_shape, require_unit, set_flag
from nightflow.detector.choices import bias_share, left_out, level_curve
from nightflow.detector.dark import dark_line, dark_scale
from nightflow.detector.flat import flat_line
from nightflow.detector.fused_kernel import calibrate_rows, flag_bleeds
from nightflow.detector.fused_masters import PreparedCache, PreparedMasters
from nightflow.detector.gain import gain_line
from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.detector.overscan import line_axis, line_levels, overscan_line, overscan_variance
from nightflow.detector.pedestal import pedestal_line
from nightflow.detector.saturation import BLEED, saturation_line
from nightflow.detector.trim import trim_line
from nightflow.detector.variance import variance_line, variance_warnings
from nightflow.flags import FLAG_DTYPE, Flag
from nightflow.frame import Frame
from nightflow.instruments.amplifiers import Region
from nightflow.instruments.profile import CameraProfile

__all__ = ["FUSED_STEPS", "calibrate_fused", "can_be_fused"]

FUSED_STEPS = frozenset(
    {
        "saturation", "not_finite", "bad_regions", "overscan", "crosstalk", "trim", "pedestal", "bias",
        "linearity", "balance", "variance", "dark", "flat", "illumination", "gain",
    }
)  # fmt: skip
"""Rows of `nightflow.detector.chain.STEPS` that the pass stands for."""

_ROWS = 64
"""Rows that a thread takes at a time."""

_PREPARED = PreparedCache()

Plane = NDArray[np.float32]


@dataclass
class _Result:
    data: Plane
    variance: Plane
    flags: NDArray[np.uint16]
    saturated_rows: NDArray[np.int32]
    odd: int = 0


def can_be_fused(frame: Frame, profile: CameraProfile, masters: MasterSet) -> bool:
    """Return whether a light frame is one of those that the pass knows.

    That is a chip with one amplifier and linear counts, whose bias is in the counts and in a master bias; a
    dark, if any, without its bias; nothing done by the camera program; no illumination.
    """
    settings, header = profile.calibration, frame.header
    return (
        not header.amplifiers
        and not (profile.detector.linearity and settings.linearity)
        and not (profile.detector.crosstalk and settings.crosstalk)
        and settings.illumination == "off"
        and not header.steps_done
        and header.bias_included
        and settings.bias != "off"
        and masters.bias is not None
        and not (settings.dark != "off" and masters.dark is not None and masters.dark.header.bias_included)
        and (settings.overscan == "off" or _has_level(frame))
    )


def calibrate_fused(
    frame: Frame, profile: CameraProfile, masters: MasterSet, threads: int = 2
) -> Frame | None:
    """Do the steps of `FUSED_STEPS` at once.

    Parameters
    ----------
    frame : Frame
        Raw counts in ADU, untrimmed, for which `can_be_fused` holds.
    profile : CameraProfile
    masters : MasterSet
    threads : int
        Blocks of rows worked on at a time.

    Returns
    -------
    Frame or None
        Electrons with variance and flags, to float32 rounding what the steps give one after another; None
        where a pixel is not finite: such a frame is filled first, which goes step by step.

    Raises
    ------
    MissingCalibration
        The master dark does not fit in exposure.
    ValueError
        The frame is not raw, or a master is of the wrong kind or shape.
    """
    require_unit(frame, "saturation", "adu")
    require_raw_shape(frame, "saturation")
    header, settings = frame.header, profile.calibration
    region = header.trim or (slice(0, frame.data.shape[0]), slice(0, frame.data.shape[1]))
    used = _used_masters(frame, region, profile, masters)
    scale = 1.0
    if used.dark is not None:
        tolerance = profile.masters.exposure_tolerance
        scale = dark_scale(frame, used.dark, used.bias, settings.dark_scaling, tolerance)
    levels = None
    if settings.overscan != "off" and header.overscan is not None:
        levels = line_levels(frame.data, header.overscan, settings.overscan, level_curve(profile))
    low, high = settings.flat_low, settings.flat_high
    prepared = _PREPARED.get(used, scale, bias_share(frame, profile, used), low, high)
    numbers = _numbers(frame, profile, scale)
    result = _run(frame, region, used, prepared, numbers, _lines(frame, region, levels), threads)
    if result.odd:
        return None
    _flag_the_rest(result, frame, region, profile)
    told = _history(frame, profile, used, levels, scale, prepared, result)
    return replace(
        told,
        data=result.data,
        variance=result.variance,
        flags=result.flags,
        unit="electron",
        header=replace(header, bias_included=False),
    )


def _has_level(frame: Frame) -> bool:
    section = frame.header.overscan
    return section is not None and bool(np.isfinite(frame.data[section]).any())


def _used_masters(frame: Frame, region: Region, profile: CameraProfile, masters: MasterSet) -> MasterSet:
    """Return the masters that are applied, their kind and shape checked."""
    settings = profile.calibration
    used = MasterSet(
        bias=masters.bias,
        dark=masters.dark if settings.dark != "off" else None,
        flat=masters.flat if settings.flat != "off" else None,
    )
    trimmed = replace(frame, data=frame.data[region])
    for step in ("bias", "dark", "flat"):
        master = getattr(used, step)
        if master is not None:
            require_master(trimmed, step, master)
    return used


def _run(
    frame: Frame,
    region: Region,
    used: MasterSet,
    prepared: PreparedMasters,
    numbers: Plane,
    lines: tuple[Plane, Plane],
    threads: int,
) -> _Result:
    rows, columns = region
    shape = rows.stop - rows.start, columns.stop - columns.start
    if min(shape) <= 0:
        raise ValueError(f"trim: section {region} holds no pixel of a frame of {frame.header.shape}")
    raw = np.ascontiguousarray(frame.data, np.float32)
    result = _Result(
        data=np.empty(shape, np.float32),
        variance=np.empty(shape, np.float32),
        flags=np.empty(shape, FLAG_DTYPE),
        saturated_rows=np.zeros(len(raw), np.int32),
    )
    counts = [_counts(master, shape[1]) for master in (used.bias, used.dark)]
    planes = (*counts, prepared.inverse, prepared.flat_error, prepared.variance)

    def work(start: int) -> int:
        stop = min(start + _ROWS, shape[0])
        odd: int = calibrate_rows(
            raw,
            (rows.start, columns.start),
            lines,
            planes,
            prepared.flags,
            numbers,
            result.data,
            result.variance,
            result.flags,
            result.saturated_rows,
            start,
            stop,
        )
        return odd

    with ThreadPoolExecutor(threads) as pool:
        result.odd = sum(pool.map(work, range(0, shape[0], _ROWS)))
    for beyond in (slice(0, rows.start), slice(rows.stop, None)):
        result.saturated_rows[beyond] = np.count_nonzero(raw[beyond] >= frame.header.saturation, axis=1)
        result.odd += int(np.count_nonzero(~np.isfinite(raw[beyond])))
    return result


def _counts(master: MasterFrame | None, width: int) -> Plane:
    """Return the counts of a master; a row of zeros where there is none."""
    return (
        np.zeros((1, width), np.float32) if master is None else np.ascontiguousarray(master.data, np.float32)
    )


def _numbers(frame: Frame, profile: CameraProfile, scale: float) -> Plane:
    """Return the numbers that `calibrate_rows` takes, in its order."""
    header, settings = frame.header, profile.calibration
    if not header.gain > 0:
        raise ValueError(f"variance: gain must be positive, got {header.gain}")
    readout = (header.read_noise / header.gain) ** 2
    readout += overscan_variance(header, settings.overscan, level_curve(profile))
    gain = header.gain
    return np.array([header.pedestal, header.saturation, 1 / gain, readout, scale, gain, gain**2], np.float32)


def _lines(frame: Frame, region: Region, levels: Plane | None) -> tuple[Plane, Plane]:
    """Return the level of each kept row and of each kept column; one of them is zero."""
    lines = [np.zeros(part.stop - part.start, np.float32) for part in region]
    if levels is not None and frame.header.overscan is not None:
        axis = line_axis(frame.header.overscan)
        lines[axis] = np.ascontiguousarray(levels[region[axis]], np.float32)
    return lines[0], lines[1]


def _flag_the_rest(result: _Result, frame: Frame, region: Region, profile: CameraProfile) -> None:
    """Flag what the pixel itself does not tell: what bled, and the user's regions."""
    corner = (region[0].start, region[1].start)
    saturation = np.float32(frame.header.saturation)
    flag_bleeds(frame.data, saturation, result.saturated_rows, corner, BLEED, result.flags)
    if profile.detector.bad_pixel_regions:
        set_flag(result.flags, _regions(frame, profile)[1][region], Flag.BAD)
    if frame.flags is not None:
        np.bitwise_or(result.flags, frame.flags[region], out=result.flags)


def _regions(frame: Frame, profile: CameraProfile) -> tuple[int, NDArray[np.bool_]]:
    regions = tuple(profile.detector.bad_pixel_regions)
    return region_mask(regions, frame.header.detector, frame.header.shape)


def _history(
    frame: Frame,
    profile: CameraProfile,
    used: MasterSet,
    levels: Plane | None,
    scale: float,
    prepared: PreparedMasters,
    result: _Result,
) -> Frame:
    """Return the frame with the lines of history and the warnings of the steps, its pixels untouched."""
    header, settings = frame.header, profile.calibration
    told = frame.after(saturation_line(int(result.saturated_rows.sum()), header))
    if profile.detector.bad_pixel_regions:
        told = told.after(regions_line(_regions(frame, profile)[0]))
    if levels is not None and header.overscan is not None:
        told = told.after(overscan_line(frame.data, header.overscan, settings.overscan, levels))
    if header.trim is not None:
        told = told.after(trim_line(header.trim))
    if header.pedestal:
        told = told.after(pedestal_line(header))
    assert used.bias is not None
    told = told.after(bias_line(used.bias)).after(variance_line(header), *variance_warnings(header))
    if used.dark is not None:
        told = told.after(dark_line(used.dark, scale))
    elif settings.dark != "off":
        told = left_out(told, "dark")
    if used.flat is not None:
        told = told.after(flat_line(used.flat, prepared.n_dead, prepared.n_bad))
    elif settings.flat != "off":
        told = left_out(told, "flat")
    return told.after(gain_line(header))
