"""Tell the pixels of a frame that show nothing but sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nightflow.detector.surroundings import measure_surroundings
from nightflow.flags import UNUSABLE
from nightflow.frame import Frame

__all__ = ["sky_pixels", "usable_pixels"]

_SMOOTHING = 5
"""Pixels; light that is spread over so many counts as an object."""
_OBJECT_SIGMA = 3.5
_GROWTH = 15
"""Pixels; side of the square by which objects are grown, for the wings that are too faint to be seen."""


def usable_pixels(frame: Frame) -> NDArray[np.bool_]:
    """Return where a frame's pixels carry light."""
    if frame.flags is None:
        return np.ones(frame.data.shape, bool)
    return (frame.flags & int(UNUSABLE)) == 0


def sky_pixels(frame: Frame, cell: int) -> NDArray[np.bool_]:
    """Return where a frame shows sky: usable pixels away from objects.

    An object is light that stands out of the smoothed frame by 3.5 times the scatter which the smoothed frame
    has around. Where the sky itself is uneven on a small scale, by fringes, that scatter is larger, so that
    they are not taken for objects.

    Parameters
    ----------
    frame : Frame
        Calibrated, its sky still in.
    cell : int
        Pixels; structure that is wider than two cells is no object.
    """
    usable = usable_pixels(frame)
    around = measure_surroundings(frame.data, usable, cell)
    smooth = ndimage.uniform_filter(np.where(usable, frame.data - around.level, np.float32(0)), _SMOOTHING)
    typical = measure_surroundings(smooth, usable, cell)
    objects = smooth - typical.level > _OBJECT_SIGMA * typical.scatter
    grown: NDArray[np.bool_] = ndimage.maximum_filter(objects.view(np.uint8), _GROWTH).view(bool)
    return usable & ~grown
