"""Make a dark-sky flat: what twilight or dome flats say wrongly on a large scale.

The night's own lights of a filter, already divided by the flat, should show an even sky. Objects are masked,
each frame is divided by its sky's level, and the combined sky is smoothed, so that of its structure only the
large scale is kept: the small scale is the flat's business, which has far more light.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from nightflow.detector.master_frame import InputFile, MasterFrame
from nightflow.detector.sky_pixels import sky_pixels
from nightflow.detector.surroundings import measure_surroundings
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.build import moderated_uncertainty
from nightflow.masters.combine import combine
from nightflow.masters.plane_on_disk import divide
from nightflow.masters.sky_planes import (
    METHOD,
    SkyPlane,
    collect,
    finished,
    flags_of,
    sky_level,
    usable_frame,
    zero_where,
)

__all__ = ["build_illumination", "sky_levels", "smooth"]

_OUTLIER = 5.0
_LEAST_KNOWN = 0.1
"""Share of the pixels of a window that must be known."""


def build_illumination(
    frames: Sequence[Frame],
    profile: CameraProfile,
    *,
    inputs: Sequence[InputFile],
    levels: Sequence[float | str] | None = None,
) -> MasterFrame:
    """Make the illumination of one chip and filter.

    Parameters
    ----------
    frames : sequence of Frame
        Calibrated lights, electrons, divided by the flat. Taken one at a time.
    profile : CameraProfile
        ``masters.illumination_scale``, ``clip_sigma`` and ``minimum_sky_inputs``.
    inputs : sequence of InputFile
        Name and hash of each frame.
    levels : sequence of float or str, optional
        Level of each exposure's sky on the camera's first chip, electrons, or why it is not known. The
        illumination of a chip that sees the same sky dimmer is then below 1, and dividing by it brings the
        chips to a common response.
        By default each frame's own median: the illumination has a median of 1.

    Returns
    -------
    MasterFrame
        Relative, smooth; ``uncertainty`` is that of the smoothed value.

    Raises
    ------
    MissingCalibration
        Too few frames show enough sky; each that does not is named.
    ValueError
        The frames are of several chips or filters, or ``inputs`` or ``levels`` of another length.
    """
    kind = FrameKind.ILLUMINATION
    if levels is not None and len(levels) != len(frames):
        raise ValueError(f"master {kind}: {len(frames)} frames, but {len(levels)} levels")
    scale = profile.masters.illumination_scale
    faults = [one if isinstance(one, str) else "" for one in levels] if levels is not None else None
    planes, judged = collect(kind, frames, profile, inputs, scale, _sky, faults)
    kept = _scaled(planes, levels)
    combined = combine([one.plane for one in kept], METHOD, profile.masters.clip_sigma)
    error = moderated_uncertainty(combined, METHOD)
    data, uncertainty, known = smooth(combined.data, error, combined.n_used > 0, scale)
    data = np.where(known, data, np.float32(np.median(data[known])))
    if levels is None:
        level = np.float32(np.median(data[known]))
        data, uncertainty = data / level, uncertainty / level
    return finished(kind, profile, kept, judged, combined, data, uncertainty, flags_of(known))


def _sky(frame: Frame, sky: NDArray[np.bool_], level: float) -> NDArray[np.float32]:
    return frame.data


def sky_levels(frames: Sequence[Frame], profile: CameraProfile) -> list[float | str]:
    """Return the level of each frame's sky, electrons, or why it has none; see `build_illumination`."""
    levels: list[float | str] = []
    for number in range(len(frames)):
        frame = usable_frame(frames, number)
        if isinstance(frame, Frame):
            levels.append(sky_level(frame, sky_pixels(frame, profile.masters.illumination_scale)))
        else:
            levels.append(frame)
    return [f"on the first chip: {one}" if isinstance(one, str) else one for one in levels]


def _scaled(planes: Sequence[SkyPlane | None], levels: Sequence[float | str] | None) -> list[SkyPlane]:
    """Return the planes that are there, each divided by its level or the one given for its exposure."""
    kept = []
    for number, one in enumerate(planes):
        if one is not None:
            divide(one.plane, one.level if levels is None else float(levels[number]))
            kept.append(one)
    return kept


def smooth(
    data: NDArray[np.float32], error: NDArray[np.float32], known: NDArray[np.bool_], scale: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Average over squares, with what is unknown and what stands out left out.

    The mean is that of the differences from a mesh of medians, which is linear at the edges: a window that
    the edge cuts does not lean to the inner side.

    Returns
    -------
    data, error : ndarray of float32, shape (ny, nx)
        Means and their standard deviations.
    known : ndarray of bool, shape (ny, nx)
        False where too little of the window is known.
    """
    around = measure_surroundings(np.where(known, data, np.float32(0)), known, scale)
    off = np.where(known, data - around.level, np.float32(0))
    counted = known & (np.abs(off) <= _OUTLIER * np.maximum(around.scatter, error))
    share = uniform_filter(counted.astype(np.float32), scale, mode="constant")
    number = np.maximum(share, np.float32(1 / scale**2))
    mean = uniform_filter(zero_where(~counted, off), scale, mode="constant") / number
    variance = uniform_filter(zero_where(~counted, error**2), scale, mode="constant") / number
    # Sums that run along the rows leave rounding errors, a little below zero where there is nothing.
    of_mean = np.sqrt(np.maximum(variance, 0) / (number * np.float32(scale**2)))
    return around.level + mean, of_mean, share >= _LEAST_KNOWN
