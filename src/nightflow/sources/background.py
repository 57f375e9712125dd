"""Sky background on a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.errors import FrameRejected
from nightflow.sources.boxes import filtered, measure_boxes, without_gaps
from nightflow.sources.spline_plane import spline_plane

__all__ = ["Background", "box_that_fits", "measure_background"]


@dataclass(frozen=True)
class Background:
    """Sky of one frame.

    Attributes
    ----------
    level : ndarray of float32, shape (ny, nx)
        Electrons a pixel.
    rms : ndarray of float32, shape (ny, nx)
        Noise of a pixel of empty sky, as measured, electrons.
    median_level, median_rms : float
        Of the whole frame.
    """

    level: NDArray[np.float32]
    rms: NDArray[np.float32]
    median_level: float
    median_rms: float


def measure_background(
    data: NDArray[np.float32], mask: NDArray[np.bool_], box: int = 64, filter_size: int = 3
) -> Background:
    """Measure the background by clipped modes on a mesh (Bertin & Arnouts 1996), as `sep.Background` does.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Electrons.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel must not count.
    box : int
        Mesh size in pixels; halved until at least three boxes fit along each side.
    filter_size : int
        Median filter over the mesh.

    Raises
    ------
    FrameRejected
        The frame has no noise at all, or nowhere enough usable pixels: it is not an exposure of the sky.
    """
    if mask.all():
        raise FrameRejected("no usable pixel: every pixel is flagged bad, saturated or hit")
    box = box_that_fits((data.shape[0], data.shape[1]), box)
    level, noise = measure_boxes(data, mask, box)
    if not np.isfinite(level).any():
        raise FrameRejected(f"no box of {box} x {box} pixels has half of them usable: the others are flagged")
    level, noise = (
        filtered(without_gaps(mesh, otherwise), filter_size)
        for mesh, otherwise in ((level, 0.0), (noise, 1.0))
    )
    if not noise.max() > 0:
        raise FrameRejected("the sky has no noise: the pixels are constant, this is no exposure")
    typical = float(np.median(noise[noise > 0]))
    shape = (data.shape[0], data.shape[1])
    rms = spline_plane(noise, box, shape)
    # A box without noise (all of it masked) would make every pixel in it a detection.
    np.maximum(rms, np.float32(0.1 * typical), out=rms)
    return Background(spline_plane(level, box, shape), rms, float(np.median(level)), typical)


def box_that_fits(shape: tuple[int, int], box: int) -> int:
    """Return the mesh size, halved until at least three boxes fit along each side."""
    while box > 16 and 3 * box > min(shape):
        box //= 2
    return box
