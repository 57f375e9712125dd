"""From a clean frame to its detections: background off, and what stands above it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.flag_planes import carrying
from nightflow.flags import UNUSABLE, Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import DetectionSettings
from nightflow.parallel import in_bands
from nightflow.sources.aperture import ApertureFluxes, measure_apertures
from nightflow.sources.background import Background, measure_background
from nightflow.sources.detection import Detections, detect
from nightflow.sources.fill import fill_flagged

__all__ = ["FAST", "Found", "Tools", "find"]


@dataclass(frozen=True)
class Found:
    """What was detected on a frame.

    Attributes
    ----------
    clean : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons, finite everywhere.
    unusable : ndarray of bool, shape (ny, nx)
        Pixels that carry no usable light.
    background : Background
    detections : Detections
    """

    clean: NDArray[np.float32]
    unusable: NDArray[np.bool_]
    background: Background
    detections: Detections


@dataclass(frozen=True)
class Tools:
    """What measures pixels: `FAST`, or photutils (`nightflow.sources.reference`) by the same signatures."""

    background: Callable[..., Background]
    detect: Callable[..., Detections]
    apertures: Callable[..., ApertureFluxes]


FAST = Tools(measure_background, detect, measure_apertures)
"""sep and our kernels."""


def find(frame: Frame, detection: DetectionSettings, tools: Tools = FAST) -> Found:
    """Take the background off and find what stands above it.

    Parameters
    ----------
    frame : Frame
        In electrons, with flags.
    detection : DetectionSettings
        Of the camera's profile.
    tools : Tools
        By which it is done.

    Raises
    ------
    FrameRejected
        The pixels hold no sky (constant, all bad, everything above the threshold).
    """
    assert frame.flags is not None
    unusable = carrying(frame.flags, UNUSABLE)
    background = tools.background(frame.data, unusable, detection.box)
    # Saturated stars must be found whole, so that their rims are not taken for stars of their own.
    without_value = int(UNUSABLE & ~Flag.SATURATED)
    clean, empty = fill_flagged(*_taken_off(frame.data, background.level, frame.flags, without_value))
    detections = tools.detect(clean, background.rms, empty, detection)
    return Found(clean, unusable, background, detections)


def _taken_off(
    data: NDArray[np.float32], level: NDArray[np.float32], flags: NDArray[np.uint16], without_value: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return what is above the background, and where that is nothing: flagged so, or not finite."""
    above, mask = np.empty(data.shape, np.float32), np.empty(data.shape, bool)
    bits = np.uint16(without_value)
    in_bands(lambda start, stop: _take_off(data, level, flags, bits, above, mask, start, stop), len(data))
    return above, mask


@numba.njit(nogil=True, cache=True)
def _take_off(
    data: NDArray[np.float32],
    level: NDArray[np.float32],
    flags: NDArray[np.uint16],
    bits: np.uint16,
    above: NDArray[np.float32],
    mask: NDArray[np.bool_],
    start: int,
    stop: int,
) -> None:
    for y in range(start, stop):
        for x in range(data.shape[1]):
            above[y, x] = data[y, x] - level[y, x]
            mask[y, x] = (flags[y, x] & bits) != 0 or not np.isfinite(data[y, x])
