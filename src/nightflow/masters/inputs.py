"""What is asked of the inputs of a master, whatever they are."""

from __future__ import annotations

from collections.abc import Sequence

from nightflow.detector.master_frame import InputFile
from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import CameraProfile, MasterSettings
from nightflow.masters.keys import COMPARED_WITHIN_TOLERANCE, OF_A_FILTER

__all__ = ["least_inputs", "require_enough", "require_same_keys"]

_OF_LIGHTS = (FrameKind.ILLUMINATION, FrameKind.FRINGE)


def least_inputs(kind: FrameKind, settings: MasterSettings) -> tuple[int, str]:
    """Return how many inputs a master needs, and the setting that says so."""
    if kind in _OF_LIGHTS:
        return settings.minimum_sky_inputs, "masters.minimum_sky_inputs"
    return settings.minimum_inputs, "masters.minimum_inputs"


def require_enough(kind: FrameKind, judged: Sequence[InputFile], profile: CameraProfile) -> None:
    """Check that enough inputs are left.

    Raises
    ------
    MissingCalibration
        There are not; each that was left out is named.
    """
    usable = sum(not file.dropped for file in judged)
    needed, setting = least_inputs(kind, profile.masters)
    if usable < needed:
        raise MissingCalibration(
            f"master {kind} for {profile.name}: {usable} of {len(judged)} inputs usable, "
            f"{needed} needed ({setting})",
            [f"{file.name}: {file.dropped}" for file in judged if file.dropped],
        )


def require_same_keys(kind: FrameKind, headers: Sequence[FrameHeader], settings: MasterSettings) -> None:
    """Check that inputs are of one chip and shape, and alike in what ``settings.match`` asks for.

    Raises
    ------
    ValueError
        They are not: whoever grouped them did not compare the keys.
    """
    keys = ["instrument", "detector", "shape", "binning"]
    keys += [key for key in settings.match if key not in COMPARED_WITHIN_TOLERANCE]
    if kind in OF_A_FILTER:
        keys.append("filter")
    for key in dict.fromkeys(keys):
        values = {getattr(header, key) for header in headers}
        if len(values) > 1:
            raise ValueError(f"master {kind}: inputs differ in {key}: {sorted(map(repr, values))}")
