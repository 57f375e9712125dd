"""The data-quality bits of a pixel, and of the sources measured on it.

One table makes the constants, the decoder and the documentation.
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLAG_DTYPE", "INCOMPLETE", "MEANINGS", "UNUSABLE", "Flag", "decode", "new_plane"]

FLAG_DTYPE = np.uint16


class Flag(IntFlag):
    """Bits of a flag plane (uint16) and of a measurement's ``flags``."""

    BAD = 1
    HOT = 2
    WARM = 4
    SATURATED = 8
    COSMIC_RAY = 16
    DEAD = 32
    INTERPOLATED = 64
    EDGE = 128
    NEIGHBOUR = 256
    TRAIL = 512
    PERSISTENCE = 1024
    AMBIGUOUS = 2048


MEANINGS: dict[Flag, str] = {
    Flag.BAD: "pixel unusable (flat response out of bounds, bad column, user region, not finite)",
    Flag.HOT: "dark current above the master's noise that adds as much variance as a normal pixel has",
    Flag.WARM: "dark current above the master's noise that adds less than that: still usable",
    Flag.SATURATED: "raw counts at or above the saturation level, or bled into",
    Flag.COSMIC_RAY: "hit by a cosmic ray",
    Flag.DEAD: "no response to light, or far less than the pixels around",
    Flag.INTERPOLATED: "value filled from the neighbours",
    Flag.EDGE: "aperture reaches over the edge of the frame",
    Flag.NEIGHBOUR: "light of a neighbour in the aperture",
    Flag.TRAIL: "on the trail of a satellite or an aircraft; of a target, drawn out beyond its aperture",
    Flag.PERSISTENCE: "saturated in an exposure shortly before: may hold its afterglow",
    Flag.AMBIGUOUS: "of a measurement: could belong to another source as well, or its source to another one",
}

UNUSABLE = Flag.BAD | Flag.HOT | Flag.SATURATED | Flag.COSMIC_RAY | Flag.DEAD | Flag.TRAIL | Flag.PERSISTENCE
"""Pixels with any of these bits carry no usable light."""

INCOMPLETE = UNUSABLE | Flag.EDGE
"""A measurement with any of these bits lacks light: it is in no ensemble, statistics or report."""


def decode(value: int) -> list[str]:
    """Return the names of the bits that are set in ``value``, lowest first."""
    return [flag.name.lower() for flag in Flag if value & flag and flag.name]


def new_plane(shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Return an empty flag plane of ``shape`` (rows, columns)."""
    return np.zeros(shape, FLAG_DTYPE)
