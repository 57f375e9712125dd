"""Pixels that no measurement can come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightflow.errors import FrameRejected

__all__ = ["check_pixels"]

SAMPLE_STEP = 997
"""A prime, so that a sample of every so many pixels does not run along columns or amplifiers."""


def check_pixels(data: NDArray[np.floating], path: Path, hdu: int = 0) -> None:
    """Refuse an image without a finite pixel, and one whose finite pixels are all equal.

    Parameters
    ----------
    data : ndarray of float, shape (ny, nx)
        Raw counts.
    path : Path
        For the message.
    hdu : int
        For the message.

    Raises
    ------
    FrameRejected
        The image holds no information: a dead camera, a failed readout, a test file.
    """
    if _varies(data.ravel()[::SAMPLE_STEP]) or _varies(data):
        return
    finite = data[np.isfinite(data)]
    if finite.size == 0:
        raise FrameRejected(f"{path}: HDU {hdu}: none of the {data.size} pixels is a finite number")
    raise FrameRejected(
        f"{path}: HDU {hdu}: constant: all {finite.size} finite pixels hold {float(finite.flat[0]):g}"
    )


def _varies(values: NDArray[np.floating]) -> bool:
    finite = np.isfinite(values)
    if not finite.any():
        return False
    return bool(values.min(where=finite, initial=np.inf) < values.max(where=finite, initial=-np.inf))
