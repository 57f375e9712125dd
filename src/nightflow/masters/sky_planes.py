"""What masters made of the night's own lights have in common: sky pixels, inputs, header, fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import require_unit, set_flag
from nightflow.detector.master_frame import InputFile, MasterFrame, MasterStatistics
from nightflow.detector.sky_pixels import sky_pixels
from nightflow.errors import FrameHeld, FrameRejected
from nightflow.flags import Flag, new_plane
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.combine import CombinedFrame, CombineMethod
from nightflow.masters.fingerprint import fingerprint, recipe
from nightflow.masters.header import common_header
from nightflow.masters.inputs import require_enough, require_same_keys
from nightflow.masters.plane_on_disk import Plane, PlaneOnDisk
from nightflow.robust import robust_sigma

__all__ = [
    "SkyPlane",
    "collect",
    "finished",
    "flags_of",
    "sky_level",
    "sky_master_fingerprint",
    "usable_frame",
    "zero_where",
]

METHOD: CombineMethod = "clipped_mean"
MEMORY_LIMIT = 2 * 2**30
"""Bytes of sky planes above which they go to a temporary file."""
LEAST_SKY = 0.2
"""Share of the pixels that must show sky."""


@dataclass
class SkyPlane:
    """The sky of one frame; NaN where there is none to be seen."""

    plane: Plane
    level: float
    """Median of the sky, electrons."""
    header: FrameHeader
    history: tuple[str, ...]


def collect(
    kind: FrameKind,
    frames: Sequence[Frame],
    profile: CameraProfile,
    inputs: Sequence[InputFile],
    cell: int,
    prepare: Callable[[Frame, NDArray[np.bool_], float], NDArray[np.float32]],
    faults: Sequence[str] | None = None,
) -> tuple[list[SkyPlane | None], list[InputFile]]:
    """Mask the objects of each frame and prepare its sky.

    Parameters
    ----------
    kind : FrameKind
        What is made, for messages.
    frames : sequence of Frame
        Calibrated, electrons, of one chip and filter. Taken one at a time; one that cannot be read or
        calibrated is left out.
    profile : CameraProfile
        ``masters.minimum_sky_inputs``.
    inputs : sequence of InputFile
        Name and hash of each frame.
    cell : int
        Pixels; see `nightflow.detector.sky_pixels.sky_pixels`.
    prepare : callable
        (frame, sky pixels, level) -> plane.
    faults : sequence of str, optional
        Why a frame is not to be used, "" where it is.

    Returns
    -------
    planes : list of SkyPlane or None
        One for each frame; None where it is left out.
    judged : list of InputFile
        The inputs, with the reason where one is left out.

    Raises
    ------
    MissingCalibration
        Too few frames show enough sky.
    ValueError
        The frames are of several chips, shapes or filters, or not in electrons, or ``inputs`` is of another
        length.
    """
    if len(frames) != len(inputs):
        raise ValueError(f"master {kind}: {len(frames)} frames, but {len(inputs)} inputs")
    planes: list[SkyPlane | None] = []
    judged = []
    for number, file in enumerate(inputs):
        plane, fault = None, faults[number] if faults is not None else ""
        frame = fault or usable_frame(frames, number)
        if isinstance(frame, Frame):
            require_unit(frame, f"master {kind}", "electron")
            first = next((one.header for one in planes if one), frame.header)
            require_same_keys(kind, [first, frame.header], profile.masters)
            plane, fault = _sky_plane(frame, cell, prepare, MEMORY_LIMIT // max(1, len(frames)))
        else:
            fault = frame
        planes.append(plane)
        judged.append(replace(file, dropped=fault))
    require_enough(kind, judged, profile)
    return planes, judged


def usable_frame(frames: Sequence[Frame], number: int) -> Frame | str:
    """Return a frame, or why it cannot be read or calibrated."""
    try:
        return frames[number]
    except (FrameRejected, FrameHeld) as error:
        return str(error)


def sky_level(frame: Frame, sky: NDArray[np.bool_]) -> float | str:
    """Return the median of the sky in electrons, or why there is none to speak of."""
    if np.mean(sky) < LEAST_SKY:
        return f"only {np.mean(sky):.0%} of its pixels show sky, {LEAST_SKY:.0%} needed"
    level = float(np.median(frame.data[sky]))
    return level if level > 0 else f"no light of the sky: level {level:.1f} electrons"


def _sky_plane(
    frame: Frame,
    cell: int,
    prepare: Callable[[Frame, NDArray[np.bool_], float], NDArray[np.float32]],
    share: int,
) -> tuple[SkyPlane | None, str]:
    sky = sky_pixels(frame, cell)
    level = sky_level(frame, sky)
    if isinstance(level, str):
        return None, level
    plane = np.where(sky, prepare(frame, sky, level), np.float32(np.nan))
    kept: Plane = PlaneOnDisk(plane) if plane.nbytes > share else plane
    return SkyPlane(kept, level, frame.header, frame.history), ""


def sky_master_fingerprint(
    kind: FrameKind, profile: CameraProfile, inputs: Sequence[InputFile], detector: str = "1"
) -> str:
    """Return the fingerprint that the builder will give, without building."""
    return fingerprint(kind, recipe(profile, {}, METHOD, detector), (file.sha256 for file in inputs))


def flags_of(known: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Return the flags of a master: BAD where nothing is known."""
    flags = new_plane((known.shape[0], known.shape[1]))
    set_flag(flags, ~known, Flag.BAD)
    return flags


def zero_where(unknown: NDArray[np.bool_], plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the plane with zeros where nothing is known."""
    filled: NDArray[np.float32] = np.where(unknown, np.float32(0), plane)
    return filled


def finished(
    kind: FrameKind,
    profile: CameraProfile,
    kept: Sequence[SkyPlane],
    judged: Sequence[InputFile],
    combined: CombinedFrame,
    data: NDArray[np.float32],
    uncertainty: NDArray[np.float32],
    flags: NDArray[np.uint16],
) -> MasterFrame:
    """Put a master of lights together."""
    good = data[flags == 0]
    return MasterFrame(
        header=common_header(kind, [one.header for one in kept]),
        data=data,
        uncertainty=uncertainty,
        flags=flags,
        inputs=tuple(judged),
        fingerprint=sky_master_fingerprint(kind, profile, judged, kept[0].header.detector),
        statistics=MasterStatistics(
            median=float(np.median(good)),
            mad=robust_sigma(good),
            noise=combined.noise,
            n_used=float(np.mean(combined.n_used)),
        ),
        history=(*kept[0].history, f"combine: {METHOD} of the sky of {len(kept)} light frames"),
        warnings=tuple(f"left out {file.name}: {file.dropped}" for file in judged if file.dropped),
    )
