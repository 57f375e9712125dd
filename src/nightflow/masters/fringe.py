"""Make a fringe frame: the pattern that the night sky's lines leave in the lights of a filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.fringe import Amplitude, fit_amplitude
from nightflow.detector.master_frame import InputFile, MasterFrame
from nightflow.detector.surroundings import measure_surroundings
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.build import moderated_uncertainty
from nightflow.masters.combine import CombinedFrame, combine
from nightflow.masters.inputs import require_enough
from nightflow.masters.plane_on_disk import divide
from nightflow.masters.sky_planes import (
    METHOD,
    SkyPlane,
    collect,
    finished,
    flags_of,
    zero_where,
)

__all__ = ["build_fringe"]

_PASSES = 2
"""How often the frames' amplitudes are fitted to the pattern and the pattern is made again."""


def build_fringe(
    frames: Sequence[Frame], profile: CameraProfile, *, inputs: Sequence[InputFile]
) -> MasterFrame:
    """Make the fringe pattern of one chip and filter.

    Each frame's sky is taken off and its objects are masked. Frames are first scaled by their sky, then by
    the amplitude that the pattern turns out to have in each: the sky's lines and the rest of its light do not
    keep step.

    Parameters
    ----------
    frames : sequence of Frame
        Calibrated lights, electrons, dithered by more than their objects are wide. Taken one at a time.
    profile : CameraProfile
        ``masters.fringe_background``, ``clip_sigma`` and ``minimum_sky_inputs``.
    inputs : sequence of InputFile
        Name and hash of each frame.

    Returns
    -------
    MasterFrame
        Electrons, mean zero, as strong as in the input of median amplitude.

    Raises
    ------
    MissingCalibration
        Too few frames show enough sky, or fringes.
    ValueError
        The frames are of several chips or filters, or ``inputs`` is of another length.
    """
    kind = FrameKind.FRINGE
    cell = profile.masters.fringe_background

    def prepare(frame: Frame, sky: NDArray[np.bool_], level: float) -> NDArray[np.float32]:
        return (frame.data - measure_surroundings(frame.data, sky, cell).level) / np.float32(level)

    planes, judged = collect(kind, frames, profile, inputs, cell, prepare)
    combined = _combined([one for one in planes if one is not None], profile)
    for _ in range(_PASSES):
        amplitudes = [_amplitude(one, combined) for one in planes]
        planes, judged = _with_fringes(planes, judged, amplitudes)
        require_enough(kind, judged, profile)
        _rescale(planes, amplitudes)
        combined = _combined([one for one in planes if one is not None], profile)
    kept = [one for one in planes if one is not None]
    strength = np.float32(np.median([one.level for one in kept]))
    known = combined.n_used > 0
    data = zero_where(~known, combined.data - np.mean(combined.data[known])) * strength
    error = zero_where(~known, moderated_uncertainty(combined, METHOD)) * strength
    return finished(kind, profile, kept, judged, combined, data, error, flags_of(known))


def _combined(kept: Sequence[SkyPlane], profile: CameraProfile) -> CombinedFrame:
    return combine([one.plane for one in kept], METHOD, profile.masters.clip_sigma)


def _amplitude(one: SkyPlane | None, combined: CombinedFrame) -> Amplitude | None:
    """Return how many times the pattern of the other frames is in a frame's plane.

    With its own noise in the pattern every frame would seem to have fringes.
    """
    if one is None:
        return None
    own = np.asarray(one.plane[:])
    known = np.isfinite(own) & (combined.n_used > 1)
    number = np.maximum(combined.n_used, 2).astype(np.float32)
    others = zero_where(~known, (number * combined.data - own) / (number - 1))
    error = moderated_uncertainty(combined, METHOD) * np.sqrt(number / (number - 1))
    return fit_amplitude(own, others, error, known)


def _with_fringes(
    planes: Sequence[SkyPlane | None], judged: Sequence[InputFile], amplitudes: Sequence[Amplitude | None]
) -> tuple[list[SkyPlane | None], list[InputFile]]:
    """Leave out the frames in which the pattern is not significant."""
    kept: list[SkyPlane | None] = []
    files = []
    for one, file, amplitude in zip(planes, judged, amplitudes, strict=True):
        absent = amplitude is not None and not amplitude.significant
        kept.append(None if absent else one)
        files.append(replace(file, dropped="no fringes to be seen") if absent else file)
    return kept, files


def _rescale(planes: Sequence[SkyPlane | None], amplitudes: Sequence[Amplitude | None]) -> None:
    """Bring all planes to one amplitude; ``level`` becomes what a plane has been divided by."""
    for one, amplitude in zip(planes, amplitudes, strict=True):
        if one is not None and amplitude is not None:
            divide(one.plane, amplitude.value)
            one.level *= amplitude.value
