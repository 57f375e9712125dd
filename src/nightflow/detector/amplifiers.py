"""Planes of a chip of several amplifiers: put together from raw ones, or made of a number for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, require_raw_shape, set_flag
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.amplifiers import Amplifier, chip_shape

__all__ = ["amplifier_plane", "assemble", "assemble_plane"]

_Pixel = TypeVar("_Pixel", bound=np.generic)


def assemble(frame: Frame) -> Frame:
    """Return the frame with the amplifiers' pixels in their places on the chip.

    Pixels that no amplifier read, as in a gap, are 0 and flagged BAD.

    Raises
    ------
    ValueError
        The frame was trimmed before.
    """
    require_raw_shape(frame, "trim")
    amplifiers = frame.header.amplifiers
    read = np.zeros(chip_shape(amplifiers), bool)
    for amplifier in amplifiers:
        read[amplifier.place] = True
    flags = assemble_plane(flag_plane(frame), amplifiers)
    if not read.all():
        set_flag(flags, ~read, Flag.BAD)
    names = ", ".join(amplifier.name for amplifier in amplifiers)
    return frame.after(
        f"trim: amplifiers {names} put together to {read.shape[1]} x {read.shape[0]} pixels",
        data=assemble_plane(frame.data, amplifiers),
        variance=None if frame.variance is None else assemble_plane(frame.variance, amplifiers),
        flags=flags,
    )


def assemble_plane(plane: NDArray[_Pixel], amplifiers: Sequence[Amplifier]) -> NDArray[_Pixel]:
    """Return a raw plane's pixels in their places on the chip, 0 where none belongs.

    Parameters
    ----------
    plane : ndarray, shape of the raw frame
    amplifiers : sequence of Amplifier

    Returns
    -------
    ndarray, shape of `nightflow.instruments.amplifiers.chip_shape`
    """
    chip = np.zeros(chip_shape(amplifiers), plane.dtype)
    for amplifier in amplifiers:
        chip[amplifier.place] = amplifier.on_chip(plane)
    return chip


def amplifier_plane(frame: Frame, value: Callable[[Amplifier], float]) -> NDArray[np.float32]:
    """Return a plane of the put-together chip that holds ``value`` of the amplifier that read each pixel.

    Raises
    ------
    ValueError
        The frame's pixels are not those of the chip yet.
    """
    amplifiers = frame.header.amplifiers
    plane = np.zeros(chip_shape(amplifiers), np.float32)
    if plane.shape != frame.data.shape:
        raise ValueError(f"needs the chip of {plane.shape}, put together, got pixels of {frame.data.shape}")
    for amplifier in amplifiers:
        plane[amplifier.place] = value(amplifier)
    return plane
