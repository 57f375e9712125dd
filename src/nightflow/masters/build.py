"""Make a master bias, dark or flat out of raw frames."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.chain import prepare_for_master
from nightflow.detector.checks import set_flag
from nightflow.detector.master_frame import (
    InputFile,
    MasterFrame,
    MasterSet,
    MasterStatistics,
    PhotonTransfer,
)
from nightflow.errors import FrameHeld, FrameRejected, MissingCalibration
from nightflow.flags import Flag, new_plane
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import CameraProfile, InputLimits
from nightflow.masters.combine import CombinedFrame, CombineMethod, combine
from nightflow.masters.fingerprint import fingerprint, recipe
from nightflow.masters.header import common_header
from nightflow.masters.inputs import require_enough, require_same_keys
from nightflow.masters.photon_transfer import (
    amplifier_doubts,
    amplifier_read_noise_doubts,
    doubts,
    photon_transfer,
)
from nightflow.masters.plane_on_disk import Plane, PlaneOnDisk, divide
from nightflow.masters.vet import InputMeasures, measure_input, unusable, vet
from nightflow.robust import MAD_TO_SIGMA

__all__ = ["build_master", "input_of", "master_fingerprint", "moderated_uncertainty"]

MEMORY_LIMIT = 2**30
"""Bytes of prepared inputs above which they go to temporary files; the rest of a build needs as much."""

PRIOR_WEIGHT = 4.0
"""Degrees of freedom by which the typical noise stands in for a pixel's own scatter."""


def build_master(
    kind: FrameKind,
    frames: Sequence[Frame],
    profile: CameraProfile,
    masters: MasterSet | None = None,
    *,
    inputs: Sequence[InputFile] | None = None,
    method: CombineMethod = "clipped_mean",
    limits: InputLimits | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> MasterFrame:
    """Prepare, vet and combine frames of one kind.

    Parameters
    ----------
    kind : FrameKind
        Bias, dark or flat.
    frames : sequence of Frame
        Raw counts, ADU. Taken one at a time: a sequence that reads its frames from disk when asked keeps
        the memory small (give ``inputs`` too, else the pixels are read once more for their hashes).
    profile : CameraProfile
        Which steps to do, and how masters are combined.
    masters : MasterSet, optional
        The bias for a dark; the bias, and the dark of the flat's exposure, for a flat.
    inputs : sequence of InputFile, optional
        Name and hash of each frame; by default numbers, and hashes of the pixels.
    method : {"clipped_mean", "median"}
        See `nightflow.masters.combine.combine`.
    limits : InputLimits, optional
        What drops an input; by default ``profile.masters.inputs``.
    memory_limit : int
        Bytes of prepared frames above which they are kept in a temporary file.

    Returns
    -------
    MasterFrame
        Dropped inputs are named in ``inputs`` and ``warnings``.

    Raises
    ------
    MissingCalibration
        Fewer usable inputs than ``profile.masters.minimum_inputs``; each dropped one is listed.
    ValueError
        The frames are of several cameras, shapes, binnings or filters, or ``inputs`` is of another length.
    """
    if not frames:
        raise MissingCalibration(f"master {kind}: no input")
    masters = masters or MasterSet()
    named = [input_of(frame, number) for number, frame in enumerate(frames)] if inputs is None else inputs
    if len(named) != len(frames):
        raise ValueError(f"master {kind}: {len(frames)} frames, but {len(named)} inputs")
    share = memory_limit // len(frames)
    tried = [_prepare(frames, number, kind, profile, masters, share) for number in range(len(frames))]
    faults = _judge(kind, tried, profile, limits)
    judged = [replace(file, dropped=fault) for file, fault in zip(named, faults, strict=True)]
    kept = [
        item for item, fault in zip(tried, faults, strict=True) if isinstance(item, _Prepared) and not fault
    ]
    require_enough(kind, judged, profile)
    transfer = photon_transfer(kind, [item.plane for item in kept], masters.bias)
    wrong_gains = _wrong_gains(kind, kept, transfer)
    combined = combine(_normalised(kind, kept), method, profile.masters.clip_sigma)
    data, uncertainty, flags = _planes(kind, combined, method)
    first = kept[0]
    return MasterFrame(
        header=common_header(kind, [item.header for item in kept]),
        data=data,
        uncertainty=uncertainty,
        flags=flags,
        inputs=tuple(judged),
        fingerprint=master_fingerprint(kind, profile, masters, named, method, first.header.detector),
        statistics=_statistics(data, flags, combined),
        photon_transfer=transfer,
        made_with=_taken_off(first.history, masters),
        history=(*first.history, f"combine: {method} of {len(kept)} {kind} frames"),
        warnings=(
            *first.warnings,
            *wrong_gains,
            *(f"left out {i.name}: {i.dropped}" for i in judged if i.dropped),
        ),
    )


def input_of(frame: Frame, number: int) -> InputFile:
    """Return a stand-in for a frame that came from no file: a number, and the hash of its pixels."""
    digest = hashlib.sha256(np.ascontiguousarray(frame.data).tobytes()).hexdigest()
    return InputFile(name=f"frame {number}", sha256=digest)


def master_fingerprint(
    kind: FrameKind,
    profile: CameraProfile,
    masters: MasterSet,
    inputs: Sequence[InputFile],
    method: CombineMethod = "clipped_mean",
    detector: str = "1",
) -> str:
    """Return the fingerprint that `build_master` will give, without building."""
    relevant = {
        name: value for name, value in masters.fingerprints.items() if name != kind and name != "flat"
    }
    if kind == FrameKind.BIAS:
        relevant = {}
    return fingerprint(kind, recipe(profile, relevant, method, detector), (file.sha256 for file in inputs))


def moderated_uncertainty(combined: CombinedFrame, method: CombineMethod) -> NDArray[np.float32]:
    """Return the standard deviation of the combined value.

    With three to ten inputs a pixel's own scatter is known to 40 to 25 % only. So its variance is averaged
    with the stack's typical one, which has the weight of `PRIOR_WEIGHT` degrees of freedom (the moderated
    variance of Smyth 2004). A pixel noisier than others still shows it.
    """
    n = np.maximum(combined.n_used, 1).astype(np.float32)
    typical = np.float32(PRIOR_WEIGHT * combined.noise**2)
    variance = (typical + (n - 1) * combined.scatter**2) / (np.float32(PRIOR_WEIGHT) + n - 1) / n
    if method == "median":
        variance = np.where(n > 2, variance * np.float32(np.pi / 2), variance)
    return np.sqrt(variance)


@dataclass(frozen=True)
class _Prepared:
    """One input after its steps; unusable pixels are NaN."""

    plane: Plane
    header: FrameHeader
    measures: InputMeasures
    history: tuple[str, ...]
    warnings: tuple[str, ...]


def _prepare(
    frames: Sequence[Frame],
    number: int,
    kind: FrameKind,
    profile: CameraProfile,
    masters: MasterSet,
    share: int,
) -> _Prepared | str:
    """Return the prepared input, or why it cannot be read or prepared: its fault is not the light's.

    Planes of more bytes than ``share`` go to a temporary file.
    """
    try:
        raw = frames[number]
        frame = prepare_for_master(raw, kind, profile, masters)
    except (FrameRejected, FrameHeld) as error:
        return str(error)
    plane = np.where(unusable(frame), np.float32(np.nan), frame.data)
    return _Prepared(
        plane=PlaneOnDisk(plane) if plane.nbytes > share else plane,
        header=frame.header,
        measures=measure_input(raw, frame),
        history=frame.history,
        warnings=frame.warnings,
    )


def _judge(
    kind: FrameKind, tried: Sequence[_Prepared | str], profile: CameraProfile, limits: InputLimits | None
) -> list[str]:
    """Return for each input why it is left out, "" where it is used."""
    tried = _without_a_minority(tried)
    prepared = [item for item in tried if isinstance(item, _Prepared)]
    _require_alike(kind, [item.header for item in prepared], profile)
    faults = iter(vet(kind, [item.measures for item in prepared], limits or profile.masters.inputs))
    return [item if isinstance(item, str) else next(faults) for item in tried]


def _without_a_minority(tried: Sequence[_Prepared | str]) -> list[_Prepared | str]:
    """Put a fault in the place of inputs that hold their bias where most have lost it, or the other way."""
    held = [item.header.bias_included for item in tried if isinstance(item, _Prepared)]
    majority = sum(held) * 2 >= len(held)
    words = "its bias is gone, most hold theirs" if majority else "it holds its bias, most do not"
    return [
        words if isinstance(item, _Prepared) and item.header.bias_included != majority else item
        for item in tried
    ]


def _require_alike(kind: FrameKind, headers: Sequence[FrameHeader], profile: CameraProfile) -> None:
    require_same_keys(kind, headers, profile.masters)
    exposures = [header.exptime for header in headers]
    if (
        kind == FrameKind.DARK
        and exposures
        and max(exposures) * (1 - profile.masters.exposure_tolerance) > min(exposures)
    ):
        raise ValueError(f"master dark: inputs of {min(exposures):g} s and of {max(exposures):g} s")


def _wrong_gains(
    kind: FrameKind, kept: Sequence[_Prepared], transfer: PhotonTransfer | None
) -> tuple[str, ...]:
    """Return what the inputs say against the gains and read noises in use; flats not yet normalised."""
    header, planes = kept[0].header, [item.plane for item in kept]
    if transfer is None or not header.amplifiers:
        return doubts(header, transfer)
    if kind is FrameKind.BIAS:
        return amplifier_read_noise_doubts(header, planes)
    return amplifier_doubts(header, planes, transfer.read_noise)


def _taken_off(history: Sequence[str], masters: MasterSet) -> dict[str, str]:
    """Return kind -> fingerprint of the masters that the inputs' history names."""
    told = [one for one in (masters.bias, masters.dark) if one and one.label in "\n".join(history)]
    return {str(one.kind): one.fingerprint for one in told}


def _normalised(kind: FrameKind, kept: Sequence[_Prepared]) -> list[Plane]:
    """Return the planes; flats each divided by its own level, so that a bright one weighs no more."""
    planes = [item.plane for item in kept]
    if kind == FrameKind.FLAT:
        for plane, item in zip(planes, kept, strict=True):
            divide(plane, item.measures.level)
    return planes


def _planes(
    kind: FrameKind, combined: CombinedFrame, method: CombineMethod
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
    """Return data, uncertainty and flags; where no input was usable, a harmless value flagged BAD."""
    empty = combined.n_used == 0
    flags = new_plane((empty.shape[0], empty.shape[1]))
    set_flag(flags, empty, Flag.BAD)
    level = np.float32(np.median(combined.data[~empty]))
    data: NDArray[np.float32] = np.where(empty, level, combined.data)
    uncertainty: NDArray[np.float32] = np.where(empty, np.float32(0), moderated_uncertainty(combined, method))
    if kind == FrameKind.FLAT:
        data /= level
        uncertainty /= level
    return data, uncertainty, flags


def _statistics(
    data: NDArray[np.float32], flags: NDArray[np.uint16], combined: CombinedFrame
) -> MasterStatistics:
    good = data[flags == 0]
    median = float(np.median(good))
    return MasterStatistics(
        median=median,
        mad=MAD_TO_SIGMA * float(np.median(np.abs(good - np.float32(median)))),
        noise=combined.noise,
        n_used=float(np.mean(combined.n_used)),
    )
