"""Read what `nightflow.products.reduced_frame` writes beside the pixels: their variance and flags."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from nightflow.errors import FrameHeld
from nightflow.flags import FLAG_DTYPE
from nightflow.frame import Frame
from nightflow.instruments.fits_file import read_readouts
from nightflow.instruments.own_product import OF_PLANES

__all__ = ["with_own_planes"]


def with_own_planes(frame: Frame, path: Path) -> Frame:
    """Return a product's frame with its UNCERT, squared, and its FLAGS.

    Where a file has them no more, or of another shape, the steps that they stand for are to be done anew, as
    far as that can be: what was saturated is not known then.

    Parameters
    ----------
    frame : Frame
        The pixels, whose header's ``steps_done`` are those of a product.
    path : Path
        The file.

    Raises
    ------
    FrameRejected
        The file is unusable.
    RetryLater
        The file cannot be read now.
    """
    try:
        uncertainty, flags = read_readouts(path, ("UNCERT", "FLAGS"))
    except FrameHeld:
        return _without(frame, "it has no UNCERT and FLAGS")
    if not uncertainty.data.shape == flags.data.shape == frame.data.shape:
        return _without(frame, "UNCERT and FLAGS are of another shape")
    return replace(
        frame,
        variance=np.square(uncertainty.data),
        flags=flags.data.astype(np.int16).view(FLAG_DTYPE),
    )


def _without(frame: Frame, why: str) -> Frame:
    steps = tuple(step for step in frame.header.steps_done if step not in OF_PLANES)
    return replace(
        frame,
        header=replace(frame.header, steps_done=steps),
        warnings=(*frame.warnings, f"a product of nightflow, but {why}: saturated pixels are not known"),
    )
