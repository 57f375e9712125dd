"""Detection that takes blends apart further, at leisure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.instruments.profile import DetectionSettings
from nightflow.sources.detection import Detections
from nightflow.sources.reference import detect

__all__ = ["detect_deep"]

_LEVELS, _CONTRAST = 64, 0.0005
"""Thresholds between a source's edge and its peak, and the part of its light that a second peak must hold."""


def detect_deep(
    data: NDArray[np.float32],
    rms: NDArray[np.float32],
    mask: NDArray[np.bool_],
    settings: DetectionSettings,
) -> Detections:
    """Find sources by photutils' segmentation with many levels; see `nightflow.sources.detection.detect`.

    Parameters
    ----------
    data, rms : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons, and the noise of each pixel.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel must not count.
    settings : DetectionSettings
        Where its own levels are more, or its contrast is lower, those hold.
    """
    deeper = settings.model_copy(
        update={
            "deblend_levels": max(settings.deblend_levels, _LEVELS),
            "deblend_contrast": min(settings.deblend_contrast, _CONTRAST),
        }
    )
    return detect(data, rms, mask, deeper)
